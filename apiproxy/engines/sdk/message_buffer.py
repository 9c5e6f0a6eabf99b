"""A bounded mailbox between the reader of one process and the one task that answers a turn."""

import asyncio
from typing import Any

Message = dict[str, Any]


class MessageBuffer:
    """Messages of the CLI, in order, at most `limit_bytes` of them waiting (plus one read's worth).

    The reader waits in `put` while it is full, so a client that reads slowly slows the CLI down, and through it the
    upstream. All calls are made on the event loop's thread.
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
        """Adds messages, then waits while there is too much.

        Does not wait for a taker that has gone (`discard`, `close`).
        """
        if self._discarding or self._closed:
            messages = [message for message in messages if message["type"] == "result"]
        self._messages += messages
        self._bytes += size_bytes
        self._changed.set()
        if self._bytes > self._limit_bytes and not (self._discarding or self._closed):
            self._room.clear()
            await self._room.wait()

    async def take(self) -> list[Message] | None:
        """Everything that waits, as soon as there is something; [] after `wake`; None once it is closed and empty."""
        if not self._messages and not self._closed:
            await self._changed.wait()
        self._changed.clear()
        if not self._messages:
            return None if self._closed else []
        messages, self._messages, self._bytes = self._messages, [], 0
        self._room.set()
        return messages

    def wake(self) -> None:
        """Makes a waiting `take` return."""
        self._changed.set()

    def discard(self) -> None:
        """Drops what waits and what will come, but for a `result`; the reader never waits again."""
        self._discarding = True
        self._messages = [message for message in self._messages if message["type"] == "result"]
        self._room.set()

    def close(self) -> None:
        """No more will come: the process has gone."""
        self._closed = True
        self._changed.set()
        self._room.set()
