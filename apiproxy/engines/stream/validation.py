"""Validation of upstream events: order and required parts of a Messages API stream. Pure.

Unknown types of events, blocks and deltas pass, and so do unknown fields. Format:
https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from typing import Any

_TEXT_OF_DELTA = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
_TEXTS_OF_BLOCK = {"text": ("text",), "thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
_NAMES_OF_CALL = ("id", "name")
_FIXED = frozenset({"id", "type", "role", "content", "model"})
"""Fields fixed by `message_start`; all others are taken from `message_delta` by folds of the stream."""
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class StreamValidator:
    """Checks the events of one stream, in order. After the first invalid one the stream must not be used."""

    __slots__ = ("_blocks", "_ended", "_open", "_started")

    def __init__(self) -> None:
        self._started = False
        self._ended = False
        self._blocks = 0
        self._open: set[int] = set()

    def accepts(self, event: Any) -> bool:
        """True if the event is valid and may follow those before it."""
        if not isinstance(event, dict):
            return False
        match event.get("type"):
            case "content_block_delta":
                index = event.get("index")
                return type(index) is int and index in self._open and _is_delta(event.get("delta"))
            case "message_start":
                return self._start(event.get("message"))
            case "content_block_start":
                return self._begin(event.get("index"), event.get("content_block"))
            case "content_block_stop":
                return self._close(event.get("index"))
            case "message_delta":
                return self._end(event)
            case "message_stop":
                return self._ended
            case kind:
                return isinstance(kind, str)

    def _start(self, message: Any) -> bool:
        first, self._started = not self._started, True
        return (
            first
            and isinstance(message, dict)
            and isinstance(message.get("id"), str)
            and isinstance(message.get("model"), str)
            and _is_usage(message.get("usage"))
        )

    def _begin(self, index: Any, block: Any) -> bool:
        if not self._started or self._ended or type(index) is not int or index != self._blocks:
            return False
        self._blocks += 1
        self._open.add(index)
        return _is_block(block)

    def _close(self, index: Any) -> bool:
        if type(index) is not int or index not in self._open:
            return False
        self._open.remove(index)
        return True

    def _end(self, event: dict[str, Any]) -> bool:
        self._ended = True
        delta, rest = event.get("delta"), event.keys() - {"type"}
        return (
            self._started
            and not self._open
            and isinstance(delta, dict)
            and not _FIXED & (delta.keys() | rest)
            and isinstance(delta.get("stop_reason"), str | None)
            and isinstance(delta.get("stop_details"), dict | None)
            and _is_usage(event.get("usage"))
        )


def _is_delta(delta: Any) -> bool:
    if not isinstance(delta, dict):
        return False
    kind = delta.get("type")
    if not isinstance(kind, str):
        return False
    name = _TEXT_OF_DELTA.get(kind)
    if name is not None:
        return isinstance(delta.get(name), str)
    return kind != "citations_delta" or "citation" in delta


def _is_block(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    if not isinstance(kind, str) or not isinstance(block.get("citations"), list | None):
        return False
    if kind == "tool_use":
        return all(isinstance(block.get(name), str) for name in _NAMES_OF_CALL)
    return all(isinstance(block.get(name), str | None) for name in _TEXTS_OF_BLOCK.get(kind, ()))


def _is_usage(usage: Any) -> bool:
    if usage is None:
        return True
    return (
        isinstance(usage, dict)
        and all(isinstance(usage.get(name), int | None) for name in _COUNTS)
        and isinstance(usage.get("output_tokens_details"), dict | None)
        and isinstance(usage.get("service_tier"), str | None)
    )
