"""Daphne with what a gateway needs of it: back-pressure, a limit on bodies, JSON where it would write HTML.

Daphne's `handle_reply` never waits, so a client that reads slowly would have its whole answer in our memory; here a
send waits while the socket is full. Daphne reads a body to its end before the application sees it; here one that is too
large or has no good key is refused from its headers (`wire/gated.py`), and one that comes too slowly is given up.

Two things that a client's header would do are left out: `Upgrade` counts where there are sockets and nowhere else, and
`Daphne-Root-Path`, with which a client would move every link of a page, counts nowhere.
"""

import asyncio
import logging
import socket
from typing import Any

from daphne.http_protocol import HTTPFactory
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor

from apiproxy.core.errors import FailureKind
from apiproxy.core.turns import new_id
from apiproxy.server.body_memory import BodyMemory
from apiproxy.server.channel import ErrorBody, given_id, id_headers
from apiproxy.server.gated_request import KeyGate
from apiproxy.server.incoming import IncomingRequest
from apiproxy.server.listener import FairAccept, GatewayChannel

logger = logging.getLogger(__name__)

_IDLE_GRACE_S = 1.0
"""How long a connection without a request is left open by a process that leaves: a client that is about to send one on
it should get its answer, and with it be told to open another."""
_LEAVE_CHECK_S = 0.1
_KEYLESS_PART = 8
"""Bodies without a key have memory of their own beside that of the others: so much less."""
SERVICE_RESTART = 4012
"""Close code that tells a page to come back at once: autobahn refuses to send 1012, RFC 6455's code for it."""
_KINDS = {400: FailureKind.INVALID_REQUEST, 503: FailureKind.DRAINING}


class GatewayRequest(IncomingRequest):
    """One HTTP request and its response."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._writable = asyncio.Event()
        self._writable.set()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802 — Twisted's name
        """The request is complete. Twisted would read forms here, megabytes of them, for nobody."""
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.requestHeaders.removeHeader(b"daphne-root-path")
        if not self.path.startswith(self.server.socket_paths):
            self.requestHeaders.removeHeader(b"upgrade")
        self.process()

    def process(self) -> Any:
        """Hands it to the application."""
        channel = self.channel
        done = super().process()
        if self.transport is None:  # it has become a browser's socket
            self.release()
            channel.factory.channels.discard(channel)
        return done

    # Twisted tells whether the socket takes more: we are its producer.

    def pauseProducing(self) -> None:  # noqa: N802 — Twisted's name
        """The socket's buffer is full."""
        self._writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802 — Twisted's name
        """The socket takes data again."""
        self._writable.set()

    def stopProducing(self) -> None:  # noqa: N802 — Twisted's name
        """The connection is gone."""
        self._writable.set()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 — Twisted's name
        """The connection is gone."""
        self._writable.set()
        super().connectionLost(reason)

    def handle_reply(self, message: dict[str, Any]) -> None:
        """A message of the application."""
        starts = message.get("type") == "http.response.start" and not self._response_started
        if starts and self.server.leaving and self.channel is not None:
            self.channel.last_response(self.responseHeaders)
        if starts and self.server.extra_headers:
            message = {**message, "headers": [*message.get("headers", ()), *self.server.extra_headers]}
        super().handle_reply(message)
        if starts and not self.finished and self.channel is not None:
            self.registerProducer(self, True)

    def finish(self) -> None:
        """The response is complete."""
        if self.producer is not None:
            self.unregisterProducer()
        super().finish()

    async def writable(self, *, timeout_s: float) -> None:
        """Waits while the client is behind with reading; one that reads nothing for so long is cut off."""
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
        """What Daphne itself has to say, as JSON."""
        if self._response_started:
            self.finish()
            return
        request_id = new_id("req_")
        path, kind = self.path.decode("ascii", "replace"), _KINDS.get(status, FailureKind.INTERNAL)
        content = self.server.error_body(path, kind, body, request_id=request_id)
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(content))]
        headers += id_headers(request_id, given_id(self))
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})


class GatewayFactory(HTTPFactory):  # type: ignore[misc]  # Daphne has no types
    """Makes connections whose requests are ours. channels: those that are open, the browser's sockets left out."""

    protocol = GatewayChannel

    def __init__(self, server: "GatewayServer") -> None:
        super().__init__(server)
        self.channels: set[GatewayChannel] = set()

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 — Twisted's name
        """A connection."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = GatewayRequest
        return protocol


class GatewayServer(Server):  # type: ignore[misc]  # Daphne has no types
    """Daphne's server over our requests.

    send_timeout_s: how long a client may read nothing of what is sent to it. request_timeout_s: how long it may take to
    send a request; see `wire/deadline.py`. error_body: what is refused before the application sees it, in the dialect
    of its path. key_gate: whose bodies are read; body_memory_bytes: how much those may take together. socket_paths: how
    the paths of the application's sockets begin. extra_headers: of every response.

    Told to `listen`, it takes connections from a socket that is not its own: other processes may do the same.
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
        # Daphne would listen by itself, as soon as its loop runs.
        super().__init__(*args, endpoints=["none"], **kwargs)
        self.endpoints: list[str] = []
        self.leaving = False
        self._send_timeout_s = send_timeout_s
        self.request_timeout_s = request_timeout_s
        self.error_body = error_body
        self.key_gate = key_gate
        self.body_memory = BodyMemory(body_memory_bytes)
        self.keyless_memory = BodyMemory(body_memory_bytes // _KEYLESS_PART)
        self.socket_paths = socket_paths
        self.extra_headers = extra_headers
        self._port: Any = None
        self._door: FairAccept | None = None

    def listen(self, listener: socket.socket, *, shared: bool) -> None:
        """Takes connections from now on. shared: other processes do so too, and get their share."""
        adopt: Any = reactor
        self._port = adopt.adoptStreamPort(listener.fileno(), listener.family, self.http_factory)
        self.listen_success(self._port)
        if shared:
            self._door = FairAccept(self._port, lambda: len(self.http_factory.channels))

    async def leave(self, *, timeout_s: float) -> None:
        """Takes no connections any more, and waits until those that are open have ended, at most so long.

        Each is told with its next response that it is the last; one without a request is closed after a short time.
        """
        self.leaving = True
        await self.close_sockets()
        try:
            async with asyncio.timeout(timeout_s):
                while self.http_factory.channels:
                    self._close_open_sockets()
                    for channel in list(self.http_factory.channels):
                        channel.close_if_idle(_IDLE_GRACE_S)
                    await asyncio.sleep(_LEAVE_CHECK_S)
        except TimeoutError:
            logger.warning("gateway.leave_cut_short", extra={"connections": len(self.http_factory.channels)})

    async def close_sockets(self) -> None:
        """Takes no connections any more, and sends browsers' sockets away; they are closed within a second."""
        if self._door is not None:
            self._door.close()
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening().asFuture(asyncio.get_running_loop())
        self._close_open_sockets()

    def _close_open_sockets(self) -> None:
        for protocol in list(self.connections):
            if not isinstance(protocol, WebSocketProtocol):
                continue
            if protocol.state == WebSocketProtocol.STATE_OPEN:
                protocol.serverClose(SERVICE_RESTART)
            elif hasattr(protocol, "handshake_deferred"):  # neither accepted nor rejected yet
                protocol.serverReject()

    @property
    def http_factory(self) -> GatewayFactory:
        """The factory of connections. Daphne's `run` sets its own; ours takes that one's place."""
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: HTTPFactory) -> None:
        self._http_factory = GatewayFactory(self)

    async def answered(self, *, timeout_s: float) -> None:
        """Waits until no request's application runs any more, at most so long."""
        running = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]
        if running:
            await asyncio.wait(running, timeout=timeout_s)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Sends a message of the application and waits until the client has room for more."""
        await super().handle_reply(protocol, message)
        if isinstance(protocol, GatewayRequest):
            await protocol.writable(timeout_s=self._send_timeout_s)
