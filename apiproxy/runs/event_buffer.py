"""Bounded single-consumer event buffer between a run and its response."""

import asyncio
from collections import deque

from apiproxy.core.events import Cancelled, Failed, Finished, RunEvent, Streamed

_MAX_BATCHES = 32
"""A batch is at most one read of the worker's pipe (256 KB), so a client that stops reading costs at most 8 MB."""
_MAX_RAW_BYTES = 16 * 1024
"""For batches that hold only the upstream's bytes."""


class EventBuffer:
    """Streamed batches and the ending, in order, from the run to the response."""

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque()
        self._taker: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._abandoned = False
        self._raw_bytes = 0

    @property
    def full(self) -> bool:
        """True if the run must wait for the client."""
        return not self._room.is_set()

    def put(self, event: Streamed | Finished | Failed | Cancelled) -> None:
        """Add an event without waiting; see `wait_for_room`."""
        if self._abandoned:
            return
        self._events.append(event)
        if isinstance(event, Streamed):
            self._raw_bytes += len(event.raw)
        if len(self._events) >= _MAX_BATCHES or self._raw_bytes >= _MAX_RAW_BYTES:
            self._room.clear()
        if self._taker is not None:
            _wake(self._taker)

    async def wait_for_room(self) -> None:
        """Wait while the client is `_MAX_BATCHES` or more behind."""
        await self._room.wait()

    async def take(self, timeout_s: float) -> list[RunEvent]:
        """Wait for events and return all of them; [] after the timeout."""
        if not self._events:
            await self._wait_for_event(timeout_s)
        events = list(self._events)
        self._events.clear()
        self._raw_bytes = 0
        self._room.set()
        return events

    async def _wait_for_event(self, timeout_s: float) -> None:
        """Wait for `put` or the timeout. Once for each event of a stream: a future and a timer are the least."""
        loop = asyncio.get_running_loop()
        self._taker = loop.create_future()
        timer = loop.call_later(timeout_s, _wake, self._taker)
        try:
            await self._taker
        finally:
            timer.cancel()
            self._taker = None

    def abandon(self) -> None:
        """Drop all events, now and later: the client has left, and the run must not wait for it."""
        self._abandoned = True
        self._events.clear()
        self._room.set()


def _wake(taker: asyncio.Future[None]) -> None:
    if not taker.done():
        taker.set_result(None)
