"""HTTP responses, whole or streamed, with detection of client disconnects."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

import orjson

from apiproxy.core.turns import new_id
from apiproxy.standin.asgi import Message, Receive, Send

_EVENTS_PER_SEND = 64

Step: TypeAlias = "bytes | Callable[[Responder], Awaitable[None]]"
"""Part of a stream: bytes, or an action awaited once all bytes before it are sent."""


class ResponseEndedError(Exception):
    """The response ends: client disconnect, or cut short on purpose."""


class Responder:
    """Sends one response. Used by one task, inside `async with`.

    Every method raises ResponseEndedError after a client disconnect.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.request_id = new_id("req_")
        self.started = False
        self._receive = receive
        self._send = send
        self._disconnected = asyncio.Event()
        self._pause: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Responder":
        self._watcher = asyncio.create_task(self._watch_client())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watcher.cancel()

    async def whole(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a response in one piece."""
        await self._start(status, {"content-type": content_type, "content-length": str(len(body)), **(headers or {})})
        await self._send_chunk(body, last=True)

    async def json(self, status: int, value: Any, *, headers: Mapping[str, str] | None = None) -> None:
        await self.whole(status, orjson.dumps(value), headers=headers)

    async def stream(self, steps: Iterable[Step]) -> None:
        """Send an event stream; events without an action between them are sent together."""
        await self._start(200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"})
        batch: list[bytes] = []
        for step in steps:
            if not isinstance(step, bytes):
                await self._flush(batch)
                await step(self)
                continue
            batch.append(step)
            if len(batch) >= _EVENTS_PER_SEND:
                await self._flush(batch)
        await self._flush(batch, last=True)

    async def pause(self, seconds: float) -> None:
        """Wait, at most until the client disconnects. Once for each event of a slow stream, so without a task."""
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        timer = loop.call_later(seconds, self._end_pause)
        try:
            if not self._disconnected.is_set():
                await self._pause
        finally:
            timer.cancel()
        if self._disconnected.is_set():
            raise ResponseEndedError

    async def hang(self) -> None:
        """Wait until the client disconnects."""
        await self._disconnected.wait()
        raise ResponseEndedError

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        pairs = {"request-id": self.request_id, **headers}.items()
        self.started = True
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        await self._send_message({"type": "http.response.start", "status": status, "headers": encoded})

    async def _flush(self, batch: list[bytes], *, last: bool = False) -> None:
        data = b"".join(batch)
        batch.clear()
        await self._send_chunk(data, last=last)  # even if empty: the first one sends the headers
        await asyncio.sleep(0)  # an answer without pauses must not block the event loop

    async def _send_chunk(self, data: bytes, *, last: bool = False) -> None:
        await self._send_message({"type": "http.response.body", "body": data, "more_body": not last})

    async def _send_message(self, message: Message) -> None:
        if self._disconnected.is_set():
            raise ResponseEndedError
        try:
            await self._send(message)
        except OSError as error:  # ASGI servers raise it for a closed connection
            self._disconnected.set()
            raise ResponseEndedError from error

    async def _watch_client(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._disconnected.set()
        self._end_pause()

    def _end_pause(self) -> None:
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)
