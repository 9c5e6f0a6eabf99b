"""Bounded buffer between the reader of a worker's stdout and the task that answers a turn."""

import asyncio
from typing import Any

Message = dict[str, Any]


class MessageBuffer:
    """CLI messages in order, up to `limit_bytes`, which one read may exceed.

    The reader waits in `put` while it is full, so a slow client slows down the CLI, and through it the upstream. All
    calls on the event loop's thread.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._messages: list[Message] = []
        self._bytes = 0
        self._closed = False
        self._discarding = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, messages: list[Message], size_bytes: int) -> None:
        """Add messages, then wait while the buffer is full; no wait after `discard` or `close`."""
        if self._discarding or self._closed:
            messages = [message for message in messages if message["type"] == "result"]
        self._messages += messages
        self._bytes += size_bytes
        self._changed.set()
        if self._bytes > self._limit_bytes and not (self._discarding or self._closed):
            self._room.clear()
            await self._room.wait()

    async def take(self) -> list[Message] | None:
        """Wait for messages and return them all; [] if woken by `wake`, None once closed and empty."""
        if not self._messages and not self._closed:
            await self._changed.wait()
        self._changed.clear()
        if not self._messages:
            return None if self._closed else []
        messages, self._messages, self._bytes = self._messages, [], 0
        self._room.set()
        return messages

    def wake(self) -> None:
        """Make a waiting `take` return."""
        self._changed.set()

    def discard(self) -> None:
        """Drop all buffered and future messages except a `result`; `put` no longer waits."""
        self._discarding = True
        self._messages = [message for message in self._messages if message["type"] == "result"]
        self._room.set()

    def close(self) -> None:
        """Accept no more messages, because the process has ended."""
        self._closed = True
        self._changed.set()
        self._room.set()
