"""Answer content assembled from stream events, for keys that store bodies."""

from collections.abc import Iterable
from typing import Any

from apiproxy.core.events import StreamEvent

MAX_ANSWER_CHARS = 1_000_000
"""Maximum size of a stored answer; longer ones are truncated and marked as cut."""

_TEXT_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


class MessageDigest:
    """Content blocks of one answer, possibly incomplete."""

    __slots__ = ("_blocks", "_chars")

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[dict[str, Any], list[str]]] = {}
        self._chars = 0

    def add(self, events: Iterable[StreamEvent]) -> None:
        """Add stream events; malformed ones are ignored."""
        for event in events:
            index = event.get("index")
            if not isinstance(index, int) or self._chars > MAX_ANSWER_CHARS:
                continue
            block, delta = event.get("content_block"), event.get("delta")
            if isinstance(block, dict):
                self._blocks[index] = (block, [])
                self._chars += len(str(block))
            elif isinstance(delta, dict) and index in self._blocks:
                text = delta.get(_TEXT_OF_DELTA.get(str(delta.get("type")), ""))
                if isinstance(text, str):
                    self._blocks[index][1].append(text)
                    self._chars += len(text)

    @property
    def cut(self) -> bool:
        return self._chars > MAX_ANSWER_CHARS

    def content(self) -> list[dict[str, Any]]:
        """Blocks in order. A tool's input remains JSON text, as `input_json`."""
        blocks = []
        for _, (block, parts) in sorted(self._blocks.items()):
            field = {"tool_use": "input_json", "thinking": "thinking"}.get(str(block.get("type")), "text")
            blocks.append({**block, field: "".join(parts)} if parts else dict(block))
        return blocks
