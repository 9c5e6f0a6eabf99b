"""The fold of a stream into the message that the Messages API would have answered without streaming."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from apiproxy.core.events import StreamEvent

_APPENDED = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class MessageFold:
    """Add the events in order; `message` is then the whole message. Inverse of what the upstream does to stream it."""

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self._json: dict[int, list[str]] = {}
        self._text: dict[tuple[int, str], list[str]] = {}

    def add(self, events: Iterable[StreamEvent]) -> None:
        """Takes events into account; `ping` and events of unknown kinds change nothing."""
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
        """Deltas that do not exist yet: text grows, anything else takes the place of what was there."""
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
            block["input"] = _tool_input(text)

    def _finish(self, event: StreamEvent) -> None:
        self.message.update(event["delta"])
        self.message["usage"] = {**(self.message.get("usage") or {}), **(event.get("usage") or {})}
        extra = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        self.message.update(extra)


def _tool_input(text: str) -> Any:
    """What the model wrote, numbers of any size and lone surrogates included (orjson changes the one and refuses the
    other); of an input that `max_tokens` cut off, the part that the official client shows too."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return from_json(text, allow_partial=True)
    except ValueError:
        # In the API's own words for it, in which a client may send it back to the model. Source:
        # https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming
        return {"INVALID_JSON": text}
