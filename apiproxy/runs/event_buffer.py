"""What a run has for its client: a bounded, single-reader queue that also tells the time."""

import asyncio
from collections import deque

from apiproxy.core.events import Cancelled, Failed, Finished, RunEvent, Streamed

_MAX_BATCHES = 32
"""Of at most one read of the worker's pipe each (256 KB), so a client that stops reading costs 8 MB at the most."""


class EventBuffer:
    """Streamed batches and the ending, in order. The run puts, the response takes."""

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._abandoned = False

    @property
    def full(self) -> bool:
        """Whether the run would have to wait for the client."""
        return not self._room.is_set()

    def put(self, event: Streamed | Finished | Failed | Cancelled) -> None:
        """Adds an event; never waits (`wait_for_room` does)."""
        if self._abandoned:
            return
        self._events.append(event)
        if len(self._events) >= _MAX_BATCHES:
            self._room.clear()
        self._changed.set()

    async def wait_for_room(self) -> None:
        """Waits while the client is more than `_MAX_BATCHES` behind."""
        await self._room.wait()

    async def take(self, timeout_s: float) -> list[RunEvent]:
        """All events that wait, or after timeout_s seconds none."""
        if not self._events:
            self._changed.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return []
        events = list(self._events)
        self._events.clear()
        self._room.set()
        return events

    def abandon(self) -> None:
        """Nobody will take any more: drops what waits and frees the run."""
        self._abandoned = True
        self._events.clear()
        self._room.set()
