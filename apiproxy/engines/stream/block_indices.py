"""Contiguous indices for the content blocks of a stream. Pure.

The Messages API itself repeated the index after a web search's result until August 2026, and gateways that leave out
blocks skip some. Source: https://github.com/anthropics/anthropic-sdk-typescript/issues/879
"""

from typing import Any

_UNKNOWN = -1
"""Index of events that belong to no open block, and of a second block with the index of an open one."""


class BlockIndices:
    """Numbers the blocks of one stream from 0, in their order."""

    __slots__ = ("_count", "_open")

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[int, int] = {}

    def renumber(self, event: Any) -> Any:
        """The event with the index of its block; the same object where nothing changes."""
        given = event.get("index") if isinstance(event, dict) else None
        if type(given) is not int:
            return event
        match event.get("type"):
            case "content_block_delta":
                index = self._open.get(given, _UNKNOWN)
            case "content_block_start":
                index = self._begin(given)
            case "content_block_stop":
                index = self._open.pop(given, _UNKNOWN)
            case _:
                return event
        return event if index == given else {**event, "index": index}

    def _begin(self, given: int) -> int:
        if given in self._open:
            return _UNKNOWN
        self._open[given] = self._count
        self._count += 1
        return self._open[given]
