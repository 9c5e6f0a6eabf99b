"""Listening sockets, fair accept loop for several processes, idle-connection handling."""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone

from apiproxy.server.gated_request import KeyGateChannel

logger = logging.getLogger(__name__)

_DELAY_PER_CONNECTION_S = 0.000_5
_MAX_DELAY_S = 0.01


_LOOPBACKS = ("127.0.0.1", "::1")
_PORT_ATTEMPTS = 20
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for an address; both for a loopback address.

    Clients resolve `localhost` to either.
    The first one is the host's. The other is left out where this machine has no IPv6, or where another program has its
    port. Raises OSError.
    """
    own = host.strip("[]").lower()
    if own == "localhost":
        own = _LOOPBACKS[0]
    if own not in _LOOPBACKS:
        return [listening_socket(host, port)]
    other = _LOOPBACKS[1 - _LOOPBACKS.index(own)]
    for _ in range(_PORT_ATTEMPTS):
        first = listening_socket(own, port)
        try:
            return [first, listening_socket(other, first.getsockname()[1])]
        except OSError as error:
            if error.errno in _NO_SUCH_ADDRESS:
                return [first]
            if port:
                logger.warning("listener.loopback_taken", extra={"address": other, "port": port})
                return [first]
            first.close()  # the free port that was picked is taken at the other address
    return [listening_socket(own, port)]


def listening_socket(host: str, port: int, *, backlog: int = 1_024) -> socket.socket:
    """Listening, non-blocking TCP socket. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `::` takes IPv4 too
        listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class GatewayChannel(KeyGateChannel):
    """One connection that can be drained.

    idle_since: monotonic time of the last response; meaningless during one.
    """

    idle_since = 0.0

    def connectionMade(self) -> None:  # noqa: N802 — Twisted's name
        self.idle_since = time.monotonic()
        self.factory.channels.add(self)
        super().connectionMade()

    def requestDone(self, request: Any) -> None:  # noqa: N802 — Twisted's name
        self.idle_since = time.monotonic()
        super().requestDone(request)

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 — Twisted's name
        self.factory.channels.discard(self)
        super().connectionLost(reason)

    def last_response(self, response_headers: Any) -> None:
        """Closes the connection after the response that is about to start; its headers announce it."""
        response_headers.setRawHeaders(b"Connection", [b"close"])
        self.persistent = False

    def close_if_idle(self, grace_s: float) -> None:
        """Closes a connection that has been idle for the grace period, unless a request has just arrived."""
        if self.requests or time.monotonic() - self.idle_since < grace_s:
            return
        try:
            self.transport.getHandle().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.transport.loseConnection()
        except OSError:  # the client closed it first
            self.transport.abortConnection()


class FairAccept:
    """Accepts one connection at a time, after a delay that grows with the number of open connections.

    All processes are woken for a new connection at the same time. Without the delay the fastest one accepts all pending
    connections at once (figures in docs/decisions/0008-several-processes.md). load: returns the open connections.
    """

    def __init__(self, port: Any, load: Callable[[], int]) -> None:
        self._port = port
        self._load = load
        self._accept = port.doRead
        self._delayed: asyncio.TimerHandle | None = None
        port.doRead = self._on_readable

    def close(self) -> None:
        if self._delayed is not None:
            self._delayed.cancel()

    def _on_readable(self) -> None:
        delay_s = min(_MAX_DELAY_S, _DELAY_PER_CONNECTION_S * self._load())
        if not delay_s:
            self._accept_one()
            return
        self._port.stopReading()
        self._delayed = asyncio.get_running_loop().call_later(delay_s, self._on_delay_over)

    def _on_delay_over(self) -> None:
        self._delayed = None
        self._accept_one()
        self._port.startReading()

    def _accept_one(self) -> None:
        self._port.numberAccepts = 1  # Twisted raises it while connections are pending
        self._accept()
