"""The answer's content put together again from its stream, for keys whose bodies are kept."""

from collections.abc import Iterable
from typing import Any

from apiproxy.core.events import StreamEvent

MAX_ANSWER_CHARS = 1_000_000
"""What is kept of one answer; the rest is cut off and said to be."""

_TEXT_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


class MessageDigest:
    """The content blocks of one answer as far as they have come."""

    __slots__ = ("_blocks", "_chars")

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[dict[str, Any], list[str]]] = {}
        self._chars = 0

    def add(self, events: Iterable[StreamEvent]) -> None:
        """Takes in stream events; those of an unknown shape are left out."""
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
        """Whether the answer was longer than what is kept."""
        return self._chars > MAX_ANSWER_CHARS

    def content(self) -> list[dict[str, Any]]:
        """The blocks in order; a tool's input stays the JSON text that it came as (`input_json`)."""
        blocks = []
        for _, (block, parts) in sorted(self._blocks.items()):
            field = {"tool_use": "input_json", "thinking": "thinking"}.get(str(block.get("type")), "text")
            blocks.append({**block, field: "".join(parts)} if parts else dict(block))
        return blocks
