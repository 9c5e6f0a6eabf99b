"""Daphne server with back-pressure, limits on request bodies, and JSON errors instead of HTML.

- Daphne's `handle_reply` never waits, so the whole response for a slow client would be buffered in memory. Here a send
  waits while the socket's buffer is full.
- Daphne reads a whole body before it calls the application. Here a body that is too large or has no valid key is
  rejected from its headers (`server/gated_request.py`), and a request that arrives too slowly times out
  (`server/connection.py`).
- `Upgrade` is ignored outside the WebSocket paths, and `Daphne-Root-Path`, with which a client could rewrite every link
  of a page, everywhere.
"""

import asyncio
import logging
import socket
from collections.abc import Iterable
from typing import Any

from daphne.http_protocol import HTTPFactory
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor

from apiproxy.core.errors import FailureKind
from apiproxy.core.turns import new_id
from apiproxy.http.body import RESERVE
from apiproxy.server.body_memory import BodyMemory
from apiproxy.server.connection import ErrorBody, raw_origin, raw_request_id, request_id_headers
from apiproxy.server.gated_request import KeyGate
from apiproxy.server.incoming import IncomingRequest
from apiproxy.server.listener import FairAccept, GatewayChannel
from apiproxy.server.round_limiter import RoundLimiter
from apiproxy.server.transport import DirectServer

logger = logging.getLogger(__name__)

_IDLE_GRACE_S = 1.0
"""Idle time after which a draining process closes a connection: a request just being sent still gets its response, with
`Connection: close`."""
_LEAVE_CHECK_S = 0.1
_KEYLESS_FRACTION = 8
"""Bodies without a key have memory of their own, smaller by this factor."""
SERVICE_RESTART = 4012
"""WebSocket close code after which a page reconnects at once. Autobahn refuses to send 1012 (Service Restart)."""
_KINDS = {400: FailureKind.INVALID_REQUEST, 503: FailureKind.DRAINING}


class GatewayRequest(IncomingRequest):
    """One HTTP request and its response."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._writable = asyncio.Event()
        self._writable.set()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802 — Twisted's name
        """Passes on the complete request. Twisted's own method also parses forms, which can be megabytes."""
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.requestHeaders.removeHeader(b"daphne-root-path")
        if not self.path.startswith(self.server.socket_paths):
            self.requestHeaders.removeHeader(b"upgrade")
        self.process()

    def process(self) -> Any:
        """Passes the request to the application."""
        channel = self.channel
        done = super().process()
        if self.transport is None:  # upgraded to a WebSocket
            self.release()
            channel.factory.channels.discard(channel)
        return done

    # Twisted's push producer interface: reports whether the socket's buffer is full.

    def pauseProducing(self) -> None:  # noqa: N802 — Twisted's name
        self._writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802 — Twisted's name
        self._writable.set()

    def stopProducing(self) -> None:  # noqa: N802 — Twisted's name
        self._writable.set()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 — Twisted's name
        self._writable.set()
        super().connectionLost(reason)

    def handle_reply(self, message: dict[str, Any]) -> None:
        starts = message.get("type") == "http.response.start" and not self._response_started
        if starts and self.server.leaving and self.channel is not None:
            self.channel.last_response(self.responseHeaders)
        if starts and self.server.extra_headers:
            message = {**message, "headers": [*message.get("headers", ()), *self.server.extra_headers]}
        transport = None if self.channel is None else self.channel.transport
        if isinstance(transport, DirectServer):
            transport.hold()
            try:
                super().handle_reply(message)
            finally:
                transport.send()
        else:
            super().handle_reply(message)
        if starts and not self.finished and self.channel is not None:
            self.registerProducer(self, True)

    def finish(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()
        super().finish()

    async def writable(self, *, timeout_s: float) -> None:
        """Waits until the socket accepts data.

        Aborts the connection of a client that reads nothing for timeout_s.
        """
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._writable.wait()
        except TimeoutError:
            logger.info("client.cut_off", extra={"path": self.path.decode(errors="replace")})
            if self.channel is not None:
                self.channel.transport.abortConnection()

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Sends Daphne's own errors as JSON."""
        if self._response_started:
            self.finish()
            return
        request_id = new_id("req_")
        path, kind = self.path.decode("ascii", "replace"), _KINDS.get(status, FailureKind.INTERNAL)
        _, content = self.server.error_body(path, kind, body, request_id=request_id)
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(content))]
        headers += request_id_headers(request_id, raw_request_id(self))
        headers += self.server.key_gate.cors_headers(raw_origin(self))
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})


class GatewayFactory(HTTPFactory):  # type: ignore[misc]  # Daphne has no types
    """Creates connections that use `GatewayRequest`. channels: the open ones, WebSockets excluded."""

    protocol = GatewayChannel

    def __init__(self, server: "GatewayServer") -> None:
        super().__init__(server)
        self.channels: set[GatewayChannel] = set()

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 — Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = GatewayRequest
        return protocol


class GatewayServer(Server):  # type: ignore[misc]  # Daphne has no types
    """Daphne's server on existing sockets, which other processes may share.

    send_timeout_s: a client that reads nothing for so long is disconnected. request_timeout_s: limit for receiving a
    request (`server/connection.py`). error_body: renders errors raised before the application is called. key_gate:
    decides whose bodies are read. body_memory_bytes: limit for all bodies together. socket_paths: prefixes of WebSocket
    paths. extra_headers: added to every response.
    """

    def __init__(
        self,
        *args: Any,
        send_timeout_s: float,
        request_timeout_s: float,
        error_body: ErrorBody,
        key_gate: KeyGate,
        body_memory_bytes: int,
        socket_paths: tuple[bytes, ...],
        extra_headers: tuple[tuple[bytes, bytes], ...] = (),
        **kwargs: Any,
    ) -> None:
        # Else Daphne would open a listening socket of its own.
        super().__init__(*args, endpoints=["none"], **kwargs)
        self.endpoints: list[str] = []
        self.leaving = False
        self._send_timeout_s = send_timeout_s
        self.request_timeout_s = request_timeout_s
        self.error_body = error_body
        self.key_gate = key_gate
        self.rounds = RoundLimiter()
        self.body_memory = BodyMemory(body_memory_bytes)
        self.keyless_memory = BodyMemory(body_memory_bytes // _KEYLESS_FRACTION)
        self.socket_paths = socket_paths
        self.extra_headers = extra_headers
        self._ports: list[Any] = []
        self._fair_accepts: list[FairAccept] = []

    def listen(self, listeners: Iterable[socket.socket], *, shared: bool) -> None:
        """Accepts connections. shared: other processes accept from the same sockets."""
        adopt: Any = reactor
        for listener in listeners:
            port = adopt.adoptStreamPort(listener.fileno(), listener.family, self.http_factory)
            port.transport = DirectServer
            self._ports.append(port)
            self.listen_success(port)
            if shared:
                self._fair_accepts.append(FairAccept(port, lambda: len(self.http_factory.channels)))

    async def leave(self, *, timeout_s: float) -> None:
        """Accepts no new connections and waits until the open ones have ended, up to timeout_s.

        The next response on each says `Connection: close`; idle ones are closed after a short time.
        """
        self.leaving = True
        await self.close_sockets()
        try:
            async with asyncio.timeout(timeout_s):
                while self.http_factory.channels:
                    self._close_websockets()
                    for channel in list(self.http_factory.channels):
                        channel.close_if_idle(_IDLE_GRACE_S)
                    await asyncio.sleep(_LEAVE_CHECK_S)
        except TimeoutError:
            logger.warning("gateway.leave_cut_short", extra={"connections": len(self.http_factory.channels)})

    async def close_sockets(self) -> None:
        """Accepts no new connections and closes all WebSockets, which takes up to a second."""
        for fair_accept in self._fair_accepts:
            fair_accept.close()
        while self._ports:
            await self._ports.pop().stopListening().asFuture(asyncio.get_running_loop())
        self._close_websockets()

    def _close_websockets(self) -> None:
        for protocol in list(self.connections):
            if not isinstance(protocol, WebSocketProtocol):
                continue
            if protocol.state == WebSocketProtocol.STATE_OPEN:
                protocol.serverClose(SERVICE_RESTART)
            elif hasattr(protocol, "handshake_deferred"):  # neither accepted nor rejected yet
                protocol.serverReject()

    @property
    def http_factory(self) -> GatewayFactory:
        """The connection factory. Daphne's `run` assigns its own, which the setter replaces."""
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: HTTPFactory) -> None:
        self._http_factory = GatewayFactory(self)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Starts the application for a request or WebSocket."""
        if isinstance(protocol, GatewayRequest):
            scope[RESERVE] = protocol.reserve_more
        return super().create_application(protocol, scope)

    async def answered(self, *, timeout_s: float) -> None:
        """Waits until no application task is running, up to timeout_s."""
        running = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]
        if running:
            await asyncio.wait(running, timeout=timeout_s)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Sends a message of the application and waits until the socket accepts more."""
        await super().handle_reply(protocol, message)
        if isinstance(protocol, GatewayRequest):
            await protocol.writable(timeout_s=self._send_timeout_s)
