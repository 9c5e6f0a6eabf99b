"""Streamed answers as Responses API events.

Format: https://platform.openai.com/docs/api-reference/responses-streaming, and how the `openai` package folds it.
Events are numbered; a delta costs one small `dumps`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.openai.errors import error_object, failure
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.responses.response import (
    Item,
    block_item,
    call_item,
    finished_response,
    initial_response,
    item_id_for,
    message_item,
    reasoning_item,
    refusal_part,
    summary_part,
    text_part,
)
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES, arguments, merged_usage, refusal_text

_PING = b": ping\n\n"
_TEXT = "response.output_text"
_ARGUMENTS = "response.function_call_arguments"
_SUMMARY = "response.reasoning_summary_text"
_DELTAS: Mapping[str, str] = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}
_FAILURE_CODES: Mapping[int, str] = {400: "invalid_prompt", 413: "invalid_prompt", 429: "rate_limit_exceeded"}


@dataclass(slots=True)
class _Block:
    """Open content block with an output item.

    place: ids and indexes of the item and part, repeated in every event. delta: name of the event for deltas. head:
    encoded event up to the delta. shown: whether deltas are sent.
    """

    index: int
    content: Mapping[str, Any]
    place: dict[str, Any]
    delta: str
    head: bytes
    shown: bool = True
    pieces: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ResponsesStream:
    """`http.response.StreamEncoder` for one Responses object.

    created: Unix time in seconds.
    """

    def __init__(self, reply: ResponsesReply, *, created: int) -> None:
        self._reply = reply
        self._created = created
        self._message: Mapping[str, Any] = {}
        self._response: dict[str, Any] = {}
        self._items: list[Item] = []
        self._blocks: dict[int, _Block] = {}
        self._block_count = 0
        self._usage: dict[str, Any] = {}
        self._end: Mapping[str, Any] = {}
        self._number = 0

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        out: list[bytes] = []
        for event in events:
            match event["type"]:
                case "content_block_delta":
                    self._on_delta(self._blocks.get(event["index"]), event["delta"], out)
                case "message_start":
                    self._on_message_start(event["message"], out)
                case "content_block_start":
                    self._block_count += 1
                    self._on_block_start(event["index"], event["content_block"], out)
                case "content_block_stop":
                    self._on_block_stop(self._blocks.pop(event["index"], None), out)
                case "message_delta":
                    self._usage = merged_usage(self._usage, event.get("usage") or {})
                    self._end = event["delta"]
        return b"".join(out)

    def finish(self) -> bytes:
        """Final events: a refusal, if any, and the complete Responses object."""
        out: list[bytes] = []
        stop_reason = self._end.get("stop_reason")
        if stop_reason == "refusal":
            self._emit_refusal(refusal_text(self._end.get("stop_details")), out)
        whole = finished_response(self._response, self._items, stop_reason=stop_reason, usage=self._usage)
        self._emit(f"response.{whole['status']}", {"response": whole}, out)
        return b"".join(out)

    def failure(self, error: ProxyError) -> bytes:
        """Failed Responses object, if started, and the error."""
        out: list[bytes] = []
        seen = error_object(error)["error"]
        if self._response:
            code = _FAILURE_CODES.get(failure(error).status, "server_error")
            failed = {**self._response, "status": "failed", "error": {"code": code, "message": seen["message"]}}
            self._emit("response.failed", {"response": {**failed, "output": self._items}}, out)
        plain = {name: seen[name] for name in ("code", "message", "param")}
        # The `openai` package raises on this event.
        self._emit("error", {**plain, "error": seen}, out)
        return b"".join(out)

    def ping(self) -> bytes:
        return _PING

    def _on_message_start(self, message: Mapping[str, Any], out: list[bytes]) -> None:
        self._message = message
        self._usage = dict(message.get("usage") or {})
        self._response = initial_response(message, self._reply, created=self._created)
        self._emit("response.created", {"response": self._response}, out)
        self._emit("response.in_progress", {"response": self._response}, out)

    def _on_delta(self, block: _Block | None, delta: Mapping[str, Any], out: list[bytes]) -> None:
        if block is None:
            return
        if (name := _DELTAS.get(delta["type"])) is not None:
            if text := delta[name]:
                self._send_delta(block, text, out)
        elif delta["type"] == "signature_delta":
            block.signature.append(delta["signature"])

    def _send_delta(self, block: _Block, text: str, out: list[bytes]) -> None:
        if block.shown:
            if not block.pieces and block.delta == _SUMMARY:
                self._emit("response.reasoning_summary_part.added", {**block.place, "part": summary_part("")}, out)
            out.append(b'%b%b,"sequence_number":%d}\n\n' % (block.head, dumps(text), self._number))
            self._number += 1
        block.pieces.append(text)

    def _on_block_start(self, index: int, content: Mapping[str, Any], out: list[bytes]) -> None:
        item = block_item(self._message["id"], index, {**content, "input": None}, self._reply)
        if item is None:
            return
        more: dict[str, Any] = {}
        place: dict[str, Any] = {"item_id": item["id"], "output_index": len(self._items)}
        match item["type"]:
            case "message":
                item = message_item(self._message["id"], index, [], "in_progress")
                place["content_index"] = 0
                name, more["logprobs"] = _TEXT, []
            case "function_call":
                item = call_item(self._message["id"], index, content, "", "in_progress")
                name = _ARGUMENTS
            case _:
                item = {**item, "summary": [], **({"encrypted_content": ""} if self._reply.encrypted else {})}
                place["summary_index"] = 0
                name = _SUMMARY
        event = f"{name}.delta"
        head = dumps({"type": event, **place, **more})[:-1] + b',"delta":'
        shown = content["type"] not in THINKING_TYPES or self._reply.reasoning
        block = _Block(index, content, place, name, b"event: %b\ndata: %b" % (event.encode(), head), shown)
        self._blocks[index] = block
        self._items.append(item)
        self._emit("response.output_item.added", {"output_index": place["output_index"], "item": item}, out)
        if item["type"] == "message":
            self._emit("response.content_part.added", {**place, "part": text_part("")}, out)
        if start := content.get("text") or content.get("thinking"):
            self._send_delta(block, start, out)

    def _on_block_stop(self, block: _Block | None, out: list[bytes]) -> None:
        if block is None:
            return
        if block.content["type"] == "tool_use" and not block.pieces:
            # The upstream streams nothing for empty arguments, but clients expect JSON.
            self._send_delta(block, arguments(block.content), out)
        item = self._finished_item(block)
        self._emit_done(block, item, out)
        position = block.place["output_index"]
        self._items[position] = item
        self._emit("response.output_item.done", {"output_index": position, "item": item}, out)

    def _finished_item(self, block: _Block) -> Item:
        message_id = self._message["id"]
        if block.delta == _TEXT:
            return message_item(message_id, block.index, [text_part(block.text)])
        if block.delta == _ARGUMENTS:
            return call_item(message_id, block.index, block.content, block.text)
        whole = dict(block.content)
        if whole["type"] == "thinking":
            whole |= {"thinking": block.text, "signature": "".join(block.signature)}
        return reasoning_item(message_id, block.index, whole, self._reply)

    def _emit_done(self, block: _Block, item: Item, out: list[bytes]) -> None:
        text = block.text
        if block.delta == _TEXT:
            self._emit(f"{_TEXT}.done", {**block.place, "text": text, "logprobs": []}, out)
            self._emit("response.content_part.done", {**block.place, "part": item["content"][0]}, out)
        elif block.delta == _ARGUMENTS:
            self._emit(f"{_ARGUMENTS}.done", {**block.place, "name": item["name"], "arguments": text}, out)
        elif block.shown and block.pieces:
            self._emit(f"{_SUMMARY}.done", {**block.place, "text": text}, out)
            self._emit("response.reasoning_summary_part.done", {**block.place, "part": summary_part(text)}, out)

    def _emit_refusal(self, text: str, out: list[bytes]) -> None:
        index, position = self._block_count, len(self._items)
        place = {
            "item_id": item_id_for("msg", self._message["id"], index),
            "output_index": position,
            "content_index": 0,
        }
        begun = message_item(self._message["id"], index, [], "in_progress")
        item = message_item(self._message["id"], index, [refusal_part(text)])
        self._items.append(item)
        self._emit("response.output_item.added", {"output_index": position, "item": begun}, out)
        self._emit("response.content_part.added", {**place, "part": refusal_part("")}, out)
        self._emit("response.refusal.delta", {**place, "delta": text}, out)
        self._emit("response.refusal.done", {**place, "refusal": text}, out)
        self._emit("response.content_part.done", {**place, "part": refusal_part(text)}, out)
        self._emit("response.output_item.done", {"output_index": position, "item": item}, out)

    def _emit(self, name: str, data: Mapping[str, Any], out: list[bytes]) -> None:
        payload = {"type": name, "sequence_number": self._number, **data}
        out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), dumps(payload)))
        self._number += 1
