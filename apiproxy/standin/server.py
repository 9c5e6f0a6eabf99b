"""Minimal HTTP/1.1 server for the stand-in's ASGI application.

Daphne cannot be started twice in a process, and faults must be exact: an application that returns before its response
is complete closes the connection, and a client disconnect is reported at once. For trusted clients on loopback only:
no TLS, and bodies need a Content-Length.
"""

import asyncio
import logging
import socket
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from apiproxy.standin.app import StandIn
from apiproxy.standin.asgi import Application, Message, Scope
from apiproxy.standin.scenarios import demo
from apiproxy.standin.script import ChooseScript

logger = logging.getLogger(__name__)

_MAX_HEAD_BYTES = 64 * 2**10
_MAX_BODY_BYTES = 64 * 2**20
_CLOSE_TIMEOUT_S = 5.0


class StandInServer:
    """A running stand-in. Stop it with `close` in the same event loop."""

    def __init__(self, server: asyncio.Server, connections: "set[_Connection]") -> None:
        self._server = server
        self._connections = connections
        self.host, self.port = server.sockets[0].getsockname()[:2]

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def close(self) -> None:
        """Stop listening, abort all connections and wait for their requests. Idempotent."""
        self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            connection.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT_S)
        for task in tasks:
            task.cancel()
        await self._server.wait_closed()


async def start(
    choose_script: ChooseScript = demo, *, pace_s: float = 0.0, listener: socket.socket | None = None
) -> StandInServer:
    """Start a stand-in on a listening socket, or on a free loopback port.

    pace_s: seconds between the deltas of a stream.
    """
    return await serve(StandIn(choose_script, pace_s=pace_s), listener or listen())


async def serve(app: Application, listener: socket.socket) -> StandInServer:
    """Serve an application on the running event loop."""
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(app, connections), sock=listener)
    return StandInServer(server, connections)


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Listening socket. port: 0 for a free one. Raises OSError if it is in use."""
    return socket.create_server((host, port))


class _BadRequestError(Exception):
    """Malformed or unsupported HTTP request."""


@dataclass(frozen=True, slots=True)
class _Head:
    """Request line and headers. size: their bytes; length: bytes of the body."""

    scope: Scope
    size: int
    length: int


def _parse_head(data: bytes) -> _Head:
    """Parse a request head including its final empty line. Raises _BadRequestError."""
    try:
        request_line, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
        method, target, version = request_line.decode("latin-1").split(" ")
        headers = []
        for line in lines:
            name, _, value = line.partition(b":")
            headers.append((name.strip().lower(), value.strip()))
        length = int(dict(headers).get(b"content-length", b"0"))
    except ValueError as error:
        raise _BadRequestError("malformed head") from error
    if b"transfer-encoding" in dict(headers):
        raise _BadRequestError("a body needs a Content-Length")
    if not 0 <= length <= _MAX_BODY_BYTES:
        raise _BadRequestError("body too large")
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": version.removeprefix("HTTP/"),
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": headers,
    }
    return _Head(scope, len(data), length)


class _Connection(asyncio.Protocol):
    """Client connection; its requests are answered in order, each in its own task."""

    def __init__(self, app: Application, connections: "set[_Connection]") -> None:
        self.task: asyncio.Task[None] | None = None
        self._app = app
        self._connections = connections
        self._incoming = bytearray()
        self._head: _Head | None = None
        self._response: _Response | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        self._writable.set()
        if self._response is not None:
            self._response.disconnect()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._incoming += data
        if self._response is None:
            self._start_next_request()

    def abort(self) -> None:
        """Close without sending buffered data."""
        self._transport.abort()

    def close(self) -> None:
        """Close after sending buffered data."""
        self._transport.close()

    async def write(self, data: bytes) -> None:
        """Send with back-pressure. Raises ConnectionResetError after a disconnect."""
        if not self._transport.is_closing():
            self._transport.write(data)
            await self._writable.wait()
        if self._transport.is_closing():
            raise ConnectionResetError("client disconnected")

    def _start_next_request(self) -> None:
        """Start answering the next request once it is complete."""
        try:
            if self._head is None:
                end = self._incoming.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
                if end < 0 and len(self._incoming) < _MAX_HEAD_BYTES:
                    return
                self._head = _parse_head(bytes(self._incoming[: end + 4]))
        except _BadRequestError as error:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self._transport.close()
            logger.warning("standin.bad_request: %s", error)
            return
        head, end = self._head, self._head.size + self._head.length
        if len(self._incoming) >= end:
            body = bytes(self._incoming[head.size : end])
            del self._incoming[:end]
            self._head = None
            self._response = _Response(self, body)
            self.task = asyncio.get_running_loop().create_task(self._run(head.scope, self._response))

    async def _run(self, scope: Scope, response: "_Response") -> None:
        try:
            await self._app(scope, response.receive, response.send)
        except Exception:  # an application error ends only this connection
            logger.exception("standin.failed")
        self._response = None
        if self._transport.is_closing():
            return
        if response.complete:
            self._start_next_request()
        else:
            self.close()


class _Response:
    """ASGI `receive` and `send` of one request."""

    def __init__(self, connection: _Connection, body: bytes) -> None:
        self.complete = False
        self._connection = connection
        self._arrived: deque[Message] = deque([{"type": "http.request", "body": body, "more_body": False}])
        self._disconnected = asyncio.Event()
        self._chunked = False
        self._head = b""

    def disconnect(self) -> None:
        self._disconnected.set()

    async def receive(self) -> Message:
        if self._arrived:
            return self._arrived.popleft()
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                self._head = self._encode_head(message)
            case "http.response.body":
                head, self._head = self._head, b""
                last = not message.get("more_body", False)
                await self._connection.write(head + self._encode_body(message.get("body", b""), last=last))
                self.complete = last
            case unknown:
                raise ValueError(f"unknown message {unknown}")

    def _encode_head(self, message: Message) -> bytes:
        headers = list(message["headers"])
        self._chunked = all(name != b"content-length" for name, _ in headers)
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        status: int = message["status"]
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        return b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, phrase.encode(), lines)

    def _encode_body(self, data: bytes, *, last: bool) -> bytes:
        if not self._chunked:
            return data
        chunk = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
        return chunk + b"0\r\n\r\n" if last else chunk
