"""One response on its way to the client, and the client's leaving."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from apiproxy.core.turns import new_id
from apiproxy.standin.asgi import ABORT, ConnectionCutError, Message, Receive, Scope, Send
from apiproxy.standin.recorder import Exchange
from apiproxy.standin.script import Cut, Hang, Pause, Step

_EVENTS_PER_SEND = 64


class ClientGoneError(Exception):
    """The client left, or was cut off: nobody is listening any more."""


class Responder:
    """Sends, waits and breaks off. Used by one task, inside `async with`.

    Every method raises ClientGoneError once the client has left.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange | None) -> None:
        self.request_id = new_id("req_")
        self._can_abort = ABORT in scope.get("extensions", {})
        self._receive = receive
        self._send = send
        self._exchange = exchange
        self._gone = asyncio.Event()
        self._complete = False
        self._drip_s = 0.0
        self.started = False

    async def __aenter__(self) -> "Responder":
        self._watch = asyncio.create_task(self._watch_client())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()
        if self._exchange is not None:
            self._exchange.end(closed_by_client=self._gone.is_set() and not self._complete)

    async def whole(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """A response in one piece."""
        await self._start(status, {"content-type": content_type, "content-length": str(len(body)), **(headers or {})})
        await self._chunk(body, last=True)

    async def json(self, status: int, value: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """A JSON response."""
        await self.whole(status, orjson.dumps(value), headers=headers)

    async def stream(self, steps: Iterable[Step], *, split: int = 0, drip_s: float = 0.0) -> None:
        """An event stream. Events that come without a pause go out together, or split, in pieces of so many bytes.

        drip_s: seconds after each of these pieces.
        """
        self._drip_s = drip_s
        await self._start(200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"})
        batch: list[bytes] = []
        for step in steps:
            if isinstance(step, bytes):
                batch.append(step)
                if len(batch) < _EVENTS_PER_SEND:
                    continue
            await self._flush(batch, split)
            if not isinstance(step, bytes):
                await self._act(step)
        await self._flush(batch, split, last=True)

    async def pause(self, seconds: float) -> None:
        """Waits, at most until the client leaves."""
        try:
            await asyncio.wait_for(self._gone.wait(), seconds)
        except TimeoutError:
            return
        raise ClientGoneError

    async def hang(self) -> None:
        """Waits until the client leaves."""
        await self._gone.wait()
        raise ClientGoneError

    async def cut(self) -> None:
        """Closes the connection, with the response incomplete. Raises ConnectionCutError where the server cannot."""
        if not self._can_abort:
            raise ConnectionCutError
        self._complete = True  # the client did not leave: it was thrown out
        await self._send({"type": ABORT})
        raise ClientGoneError

    async def _act(self, step: Pause | Hang | Cut) -> None:
        match step:
            case Pause(seconds):
                await self.pause(seconds)
            case Hang():
                await self._chunk(b"")  # the headers, where nothing was sent before
                await self.hang()
            case Cut():
                await self.cut()

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        if self._exchange is not None:
            self._exchange.status = status
        pairs = {"request-id": self.request_id, **headers}.items()
        self.started = True
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        await self._tell({"type": "http.response.start", "status": status, "headers": encoded})

    async def _flush(self, batch: list[bytes], split: int, *, last: bool = False) -> None:
        data = b"".join(batch)
        batch.clear()
        if split:
            for at in range(0, len(data), split):
                await self._chunk(data[at : at + split])
                if self._drip_s:
                    await self.pause(self._drip_s)
            data = b""
        if data or last:
            await self._chunk(data, last=last)
        await asyncio.sleep(0)  # an answer without pauses must leave the loop to others too

    async def _chunk(self, data: bytes, *, last: bool = False) -> None:
        await self._tell({"type": "http.response.body", "body": data, "more_body": not last})
        self._complete = last

    async def _tell(self, message: Message) -> None:
        if self._gone.is_set():
            raise ClientGoneError
        try:
            await self._send(message)
        except OSError as error:  # what ASGI servers raise on sending to a closed connection
            self._gone.set()
            raise ClientGoneError from error

    async def _watch_client(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
