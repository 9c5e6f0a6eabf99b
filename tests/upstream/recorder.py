"""Recorder of the last requests and the fate of their responses."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from apiproxy.standin.app import read_body
from apiproxy.standin.asgi import Application, Message, Receive, Scope, Send
from apiproxy.standin.responder import Responder

_MAX_EXCHANGES = 2_000
_MAX_BYTES = 256 * 2**20


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request and its response.

    Times are Unix seconds; ended_at is None while the request is in progress.
    number: from 1, since the start. raw: the unparsed body. status: None until the response starts.
    closed_by_client: the client disconnected before the response was complete.
    """

    number: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    status: int | None = None
    closed_by_client: bool = False

    @property
    def body(self) -> Any:
        """The parsed body, None if it is not JSON. Parsed anew at each access."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return None


class Recorder:
    """The last exchanges, bounded by number and by total bytes of their bodies."""

    def __init__(self, *, max_exchanges: int = _MAX_EXCHANGES, max_bytes: int = _MAX_BYTES) -> None:
        self._exchanges: deque[Exchange] = deque()
        self._max_exchanges = max_exchanges
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0

    @property
    def exchanges(self) -> list[Exchange]:
        """Kept exchanges, oldest first."""
        return list(self._exchanges)

    @property
    def open(self) -> list[Exchange]:
        """Kept exchanges still in progress."""
        return [exchange for exchange in self._exchanges if exchange.ended_at is None]

    def since(self, number: int, *, containing: bytes = b"") -> list[Exchange]:
        """Exchanges after that number whose raw body contains the bytes, oldest first."""
        return [it for it in self._exchanges if it.number > number and containing in it.raw]

    def begin(self, scope: Mapping[str, Any], raw: bytes) -> Exchange:
        """Record a new request, dropping the oldest ones over the limits."""
        self._count += 1
        exchange = Exchange(
            number=self._count,
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            raw=raw,
        )
        self._exchanges.append(exchange)
        self._bytes += len(raw)
        while len(self._exchanges) > self._max_exchanges or (
            self._bytes > self._max_bytes and len(self._exchanges) > 1
        ):
            self._bytes -= len(self._exchanges.popleft().raw)
        return exchange

    def clear(self) -> None:
        """Drop all exchanges; numbering continues."""
        self._exchanges.clear()
        self._bytes = 0


class RecordingApp:
    """Middleware that records the requests of an application.

    expose: GET and DELETE `/_recorded` read and clear the recorder.
    """

    def __init__(self, app: Application, recorder: Recorder, *, expose: bool) -> None:
        self._app = app
        self._recorder = recorder
        self._expose = expose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._expose and scope["path"] == "/_recorded":
            async with Responder(receive, send) as responder:
                await self._answer(responder, scope)
            return
        raw = await read_body(receive)
        if raw is not None:
            await _Recording(self._recorder.begin(scope, raw), receive, send).run(self._app, scope)

    async def _answer(self, responder: Responder, scope: Scope) -> None:
        if scope["method"] == "DELETE":
            self._recorder.clear()
            await responder.json(200, {})
            return
        query = dict(parse_qsl(scope["query_string"]))
        found = self._recorder.since(int(query.get(b"since", 0)), containing=query.get(b"containing", b""))
        if b"open" in query:
            found = [exchange for exchange in found if exchange.ended_at is None]
        await responder.json(200, [{**asdict(it), "raw": it.raw.decode(errors="replace")} for it in found])


class _Recording:
    """Wraps `receive` and `send` of one request to fill in its exchange."""

    def __init__(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._body_read = False
        self._disconnected = False
        self._complete = False

    async def run(self, app: Application, scope: Scope) -> None:
        try:
            await app(scope, self._receive_recorded, self._send_recorded)
        finally:
            self._exchange.ended_at = time.time()
            self._exchange.closed_by_client = self._disconnected and not self._complete

    async def _receive_recorded(self) -> Message:
        if not self._body_read:
            self._body_read = True
            return {"type": "http.request", "body": self._exchange.raw, "more_body": False}
        message = await self._receive()
        self._disconnected = self._disconnected or message["type"] == "http.disconnect"
        return message

    async def _send_recorded(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._exchange.status = message["status"]
        try:
            await self._send(message)
        except OSError:  # ASGI servers raise it for a closed connection
            self._disconnected = True
            raise
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True
