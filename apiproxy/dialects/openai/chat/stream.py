"""Streamed answers as Chat Completions chunks.

A delta costs one small `dumps`: the rest of the chunk is encoded once per block. Format:
https://platform.openai.com/docs/api-reference/chat, and how the `openai` package reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import orjson

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.core.json_encoding import dumps
from apiproxy.core.message import updated
from apiproxy.dialects.openai.errors import error_object
from apiproxy.dialects.openai.translate.annotations import CitedText, chat_annotations
from apiproxy.dialects.openai.translate.answer import (
    SYSTEM_FINGERPRINT,
    THINKING_TYPES,
    arguments,
    chat_usage,
    completion_id,
    finish_reason,
    refusal_text,
    service_tier,
)
from apiproxy.dialects.openai.translate.called_tools import ToolKind
from apiproxy.dialects.openai.translate.forced_call import CallEvents
from apiproxy.dialects.openai.translate.free_form import FreeFormDecoder
from apiproxy.dialects.openai.translate.messages_body import Reply
from apiproxy.dialects.openai.translate.property_keys import KeyRestorer
from apiproxy.dialects.openai.translate.tool_activity import CALL, PARAGRAPH, StreamedActivity

_DONE = b"data: [DONE]\n\n"
_PING = b": ping\n\n"


class _Kind(Enum):
    TEXT = auto()
    ANSWER = auto()  # arguments of the tool that carries the answer: sent as text
    CALL = auto()
    THINKING = auto()
    OTHER = auto()


@dataclass(slots=True)
class _Block:
    """Open content block.

    head, tail: bytes before and after the JSON of each delta; between: bytes before its repetition, if any. decoder: of
    the arguments of a free-form call.
    """

    kind: _Kind
    content: Mapping[str, Any]
    head: bytes = b""
    between: bytes = b""
    tail: bytes = b""
    empty: bool = True
    thinking: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)
    decoder: FreeFormDecoder | None = None

    def write(self, text: str, out: list[bytes]) -> None:
        """Append a chunk with this delta."""
        encoded = dumps(text)
        out.append(self.head)
        if self.between:
            out += (encoded, self.between)
        out += (encoded, self.tail)


class ChatStream:
    """`http.response.StreamEncoder` for one chat completion.

    created: Unix time in seconds.
    """

    def __init__(self, reply: Reply, *, created: int) -> None:
        self._reply = reply
        self._created = created
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._thoughts = 0
        self._role_sent = False
        self._has_text = False
        self._activity = StreamedActivity()
        self._called = False  # since the last text
        self._cited = CitedText()
        self._keys = KeyRestorer(reply.renamed)
        self._ending: dict[str, Any] | None = None
        self._head = b""
        self._tail = b""
        self._call_events = CallEvents(reply.forced_call) if reply.forced_call is not None else None

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        """Chunks for upstream events; thinking only if it was requested."""
        out: list[bytes] = []
        if self._call_events is not None:
            events = self._call_events.rewrite(events)
        for event in self._keys.feed(events):
            if event["type"] == "content_block_delta":
                self._on_delta(event["index"], event["delta"], out)
            else:
                self._on_event(event, out)
        return b"".join(out)

    def finish(self) -> bytes:
        """Finish reason, if not sent yet, token counts, if requested, and the end marker."""
        out: list[bytes] = []
        self._end(out)
        if self._reply.include_usage:
            usage = chat_usage(self._usage, has_thinking=self._thoughts > 0)
            out.append(self._head + b'[],"usage":' + orjson.dumps(usage) + b"}\n\n")
        return b"".join((*out, _DONE))

    def failure(self, error: ProxyError) -> bytes:
        """Error object; an end marker would make the answer look complete."""
        return b"data: " + dumps(error_object(error)) + b"\n\n"

    def ping(self) -> bytes:
        return _PING

    def _on_event(self, event: StreamEvent, out: list[bytes]) -> None:
        match event["type"]:
            case "message_start":
                self._on_message_start(event["message"])
            case "content_block_start":
                self._on_block_start(event["index"], event["content_block"], out)
            case "content_block_stop":
                self._on_block_stop(event["index"], self._blocks.pop(event["index"]), out)
            case "message_delta":
                self._usage = updated(self._usage, event.get("usage") or {})
                self._ending = updated(self._ending or {}, event["delta"])
            case "message_stop":
                self._end(out)

    def _on_message_start(self, message: Mapping[str, Any]) -> None:
        self._usage = dict(message.get("usage") or {})
        head = {
            "id": completion_id(message["id"]),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": message["model"],
            "system_fingerprint": SYSTEM_FINGERPRINT,
        }
        if (tier := service_tier(self._usage)) is not None:
            head["service_tier"] = tier
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":'
        self._tail = b',"usage":null}\n\n' if self._reply.include_usage else b"}\n\n"

    def _on_delta(self, index: int, delta: Mapping[str, Any], out: list[bytes]) -> None:
        block = self._blocks[index]
        match delta["type"]:
            case "text_delta" if block.kind is _Kind.TEXT:
                text = delta["text"]
                self._cited.add_text(text)
            case "citations_delta" if block.kind is _Kind.TEXT:
                self._cited.add_citation(delta["citation"])
                return
            case "input_json_delta" if block.kind in (_Kind.CALL, _Kind.ANSWER):
                text = delta["partial_json"]
                if block.decoder is not None:
                    text = block.decoder.decode(text)
            case "thinking_delta" if block.kind is _Kind.THINKING:
                text = delta["thinking"]
                block.thinking.append(text)
            case "signature_delta" if block.kind is _Kind.THINKING:
                block.signature.append(delta["signature"])
                return
            case _:
                self._activity.add(index, delta)
                return
        if text:
            block.empty = False
            block.write(text, out)

    def _on_block_start(self, index: int, content: Mapping[str, Any], out: list[bytes]) -> None:
        block = _Block(self._kind(content), content)
        self._blocks[index] = block
        self._activity.begin(index, content)
        self._called |= content["type"] == CALL
        match block.kind:
            case _Kind.TEXT:
                self._cited.begin(content)
                self._cited.add_text(content.get("text") or "")
                self._open_text(block, content.get("text") or "", out)
            case _Kind.ANSWER:
                self._open_text(block, "", out)
            case _Kind.CALL:
                self._open_call(block, out)
            case _Kind.THINKING:
                block.head, block.tail = self._delta_frame({"reasoning_content": None})
                if not self._role_sent:
                    self._emit({"content": None, "reasoning_content": ""}, out)

    def _kind(self, content: Mapping[str, Any]) -> _Kind:
        kind = content["type"]
        if kind == "text":
            # Text next to a tool that carries the answer would corrupt the JSON.
            return _Kind.TEXT if self._reply.answer_tool is None else _Kind.OTHER
        if kind == "tool_use":
            return _Kind.ANSWER if content["name"] == self._reply.answer_tool else _Kind.CALL
        if kind in THINKING_TYPES:
            self._thoughts += 1
            return _Kind.THINKING if self._reply.reasoning else _Kind.OTHER
        return _Kind.OTHER

    def _open_text(self, block: _Block, text: str, out: list[bytes]) -> None:
        block.head, block.tail = self._delta_frame({"content": None})
        text = PARAGRAPH + text if self._has_text and self._called else text
        if text or not self._has_text:
            self._emit({"content": text}, out)
        self._has_text, self._called = True, False

    def _open_call(self, block: _Block, out: list[bytes]) -> None:
        name, call_id = block.content["name"], block.content["id"]
        content = {} if self._role_sent else {"content": None}
        if self._reply.legacy_function:
            self._emit({**content, "function_call": {"name": name, "arguments": ""}}, out)
            block.head, block.tail = self._delta_frame({"function_call": {"arguments": None}})
        else:
            tool = self._reply.called.get(name)
            kind, argument = "function", "arguments"
            if tool is not None and tool.kind is ToolKind.CUSTOM:
                kind, argument, name, block.decoder = "custom", "input", tool.name, FreeFormDecoder()
            forms = {kind: argument}
            if kind == "custom" and self._reply.custom_as_function:
                forms["function"] = "arguments"
            call = {"index": self._calls, "id": call_id, "type": kind}
            self._emit(
                {**content, "tool_calls": [call | {form: {"name": name, it: ""} for form, it in forms.items()}]}, out
            )
            pieces = {form: {it: None} for form, it in forms.items()}
            block.head, block.tail = self._delta_frame({"tool_calls": [{"index": self._calls, **pieces}]})
            if len(forms) > 1:
                block.between, _, block.tail = block.tail.partition(b"null")
        self._calls += 1

    def _on_block_stop(self, index: int, block: _Block, out: list[bytes]) -> None:
        if (line := self._activity.end(index)) and self._reply.reasoning:
            self._emit({"reasoning_content": line}, out)
        if block.kind is _Kind.TEXT:
            self._cited.end()
        elif block.kind is _Kind.THINKING:
            self._emit({"thinking_blocks": [{"index": self._thoughts - 1, **_complete_thinking(block)}]}, out)
        elif block.kind in (_Kind.CALL, _Kind.ANSWER) and (text := _left(block)):
            block.write(text, out)

    def _end(self, out: list[bytes]) -> None:
        """Finish reason, sent only once: clients stop reading at the first of several."""
        if (delta := self._ending) is None:
            return
        self._ending = None
        reason = finish_reason(delta.get("stop_reason"), calls=self._calls > 0, legacy=self._reply.legacy_function)
        if reason == "content_filter":
            content = {} if self._role_sent else {"content": None}
            self._emit({**content, "refusal": refusal_text(delta.get("stop_details"))}, out)
        elif not self._has_text and not self._calls:
            self._emit({"content": ""}, out)
        if self._cited.annotations:
            # All at once: the `openai` package cannot merge entries of this list.
            self._emit({"annotations": chat_annotations(self._cited.annotations)}, out)
            self._cited = CitedText()
        self._emit({}, out, reason)

    def _emit(self, delta: Mapping[str, Any], out: list[bytes], reason: str | None = None) -> None:
        if not self._role_sent:
            delta = {"role": "assistant", **delta}
            self._role_sent = True
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        out.append(self._head + b"[" + dumps(choice) + b"]" + self._tail)

    def _delta_frame(self, delta: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Encoded chunk before and after the only null in the delta."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        before, _, after = orjson.dumps(choice).partition(b"null")
        return self._head + b"[" + before, after + b"]" + self._tail


def _left(block: _Block) -> str:
    """Rest of a call's arguments, not sent yet."""
    if block.decoder is not None:
        return block.decoder.finish()
    # The upstream streams nothing for empty arguments, but clients expect JSON.
    return arguments(block.content) if block.empty else ""


def _complete_thinking(block: _Block) -> dict[str, Any]:
    """Complete thinking block, as the client has to send it back."""
    if block.content["type"] == "redacted_thinking":
        return dict(block.content)
    thinking = "".join([block.content.get("thinking") or "", *block.thinking])
    signature = "".join([block.content.get("signature") or "", *block.signature])
    return {**block.content, "thinking": thinking, "signature": signature}
