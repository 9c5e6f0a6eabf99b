"""Accumulator that rebuilds the complete message from a Messages API stream."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from apiproxy.core.events import StreamEvent


class UnparsedInput(dict[str, Any]):
    """Tool input whose JSON is cut off or invalid, as far as it can be read. text: as the model wrote it."""

    __slots__ = ("text",)

    def __init__(self, readable: Mapping[str, Any], text: str) -> None:
        super().__init__(readable)
        self.text = text


CUT_OFF = frozenset({"max_tokens", "model_context_window_exceeded"})
"""Stop reasons of an answer that ends in the middle."""
INVALID_JSON = "INVALID_JSON"
"""The API's name for tool input that is not JSON, which a client may send back to the model. Source:
https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming"""
_APPENDED = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class MessageFold:
    """Accumulates stream events, added in order, into `message`."""

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self._json: dict[int, list[str]] = {}
        self._text: dict[tuple[int, str], list[str]] = {}

    def add(self, events: Iterable[StreamEvent]) -> None:
        """Add events; `ping` and unknown events are ignored."""
        for event in events:
            match event["type"]:
                case "content_block_delta":
                    self._delta(event["index"], event["delta"])
                case "message_start":
                    self.message = {**event["message"], "content": []}
                case "content_block_start":
                    self.message["content"].append(dict(event["content_block"]))
                case "content_block_stop":
                    self._close(event["index"])
                case "message_delta":
                    self._finish(event)

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        kind = delta["type"]
        if (name := _APPENDED.get(kind)) is not None:
            self._text.setdefault((index, name), []).append(delta[name])
        elif kind == "input_json_delta":
            self._json.setdefault(index, []).append(delta["partial_json"])
        elif kind == "citations_delta":
            block = self.message["content"][index]
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        else:
            self._unknown_delta(index, delta)

    def _unknown_delta(self, index: int, delta: dict[str, Any]) -> None:
        """Apply a delta of an unknown type: append strings, replace other values."""
        block = self.message["content"][index]
        for name, value in delta.items():
            if name == "type":
                continue
            grows = isinstance(value, str) and isinstance(block.get(name), str)
            block[name] = block[name] + value if grows else value

    def _close(self, index: int) -> None:
        block = self.message["content"][index]
        for name in _APPENDED.values():
            if (pieces := self._text.pop((index, name), None)) is not None:
                block[name] = (block.get(name) or "") + "".join(pieces)
        text = "".join(self._json.pop(index, ()))
        if text:
            block["input"] = tool_input(text)

    def _finish(self, event: StreamEvent) -> None:
        self.message = updated(self.message, event["delta"])
        self.message["usage"] = updated(self.message.get("usage") or {}, event.get("usage") or {})
        extra = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        self.message.update(extra)


def updated(before: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a message or its `usage`, updated by a `message_delta`.

    A null value leaves a field unchanged.
    """
    return {**before, **{name: value for name, value in update.items() if value is not None or name not in before}}


def unfold(message: Mapping[str, Any]) -> Iterator[StreamEvent]:
    """Stream events of a complete message; `MessageFold` makes an equal message of them.

    The message has a list of blocks, each with a type, as its content. A call at its end that `max_tokens` may have cut
    off gets no closing brace, so that the text of its arguments is not taken for a complete one.
    """
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence") if name in message}
    start = {**message, **dict.fromkeys(ending), "content": []}
    yield {"type": "message_start", "message": start}
    last = len(message["content"]) - 1
    for index, block in enumerate(message["content"]):
        shell, delta = _block_start(block, cut=index == last and message.get("stop_reason") in CUT_OFF)
        yield {"type": "content_block_start", "index": index, "content_block": shell}
        if delta is not None:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    usage = {"usage": message["usage"]} if "usage" in message else {}
    yield {"type": "message_delta", "delta": ending, **usage}
    yield {"type": "message_stop"}


def _block_start(block: Mapping[str, Any], *, cut: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A block as it starts, and the delta that completes it; None if it is complete. cut: see `unfold`."""
    kind = block["type"]
    if kind in ("text", "thinking") and block.get(kind) and isinstance(block[kind], str):
        return {**block, kind: ""}, {"type": f"{kind}_delta", kind: block[kind]}
    if kind in ("tool_use", "server_tool_use") and isinstance(block.get("input"), dict) and (block["input"] or cut):
        with contextlib.suppress(RecursionError):  # json's limit is lower than orjson's, which may have read this
            text = json.dumps(block["input"])
            text = text[:-1] + ("," if block["input"] else "") if cut else text
            return {**block, "input": {}}, {"type": "input_json_delta", "partial_json": text}
    return dict(block), None


def tool_input(text: str) -> Any:
    """Parse the JSON text of a tool input.

    If `max_tokens` truncated it, the part that the official client returns too, as an `UnparsedInput`. Not with orjson,
    which changes large numbers and rejects lone surrogates.
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        value = from_json(text, allow_partial=True)
        return UnparsedInput(value, text) if isinstance(value, dict) else value
    except ValueError:
        return UnparsedInput({INVALID_JSON: text}, text)
