"""The connections of one process: how they come in where several processes share a socket, and how they end."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone

from apiproxy.server.gated_request import GatedChannel

_PATIENCE_S = 0.000_5
_MAX_PATIENCE_S = 0.01


def listening_socket(host: str, port: int, *, backlog: int = 1_024) -> socket.socket:
    """A socket that listens there; child processes can inherit it. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class GatewayChannel(GatedChannel):
    """One connection and its requests. idle_since: by a clock that nobody sets; it means nothing during a request."""

    idle_since = 0.0

    def connectionMade(self) -> None:  # noqa: N802 — Twisted's name
        """It begins."""
        self.idle_since = time.monotonic()
        self.factory.channels.add(self)
        super().connectionMade()

    def requestDone(self, request: Any) -> None:  # noqa: N802 — Twisted's name
        """A response is complete."""
        self.idle_since = time.monotonic()
        super().requestDone(request)

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 — Twisted's name
        """It is gone."""
        self.factory.channels.discard(self)
        super().connectionLost(reason)

    def last_response(self, response_headers: Any) -> None:
        """Tells the client with the response that is to begin now that no other will follow."""
        response_headers.setRawHeaders(b"Connection", [b"close"])
        self.persistent = False

    def close_if_idle(self, grace_s: float) -> None:
        """Closes a connection that has had no request for so long, unless one is just coming in."""
        if self.requests or time.monotonic() - self.idle_since < grace_s:
            return
        try:
            self.transport.getHandle().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.transport.loseConnection()
        except OSError:  # the client was first
            self.transport.abortConnection()


class FairAccept:
    """Lets connections in one by one; the more a process has, the longer it leaves the next one to the others.

    They all hear of a new connection at the same time. Without this, the one that is quickest takes all that has come
    together, in one go (docs/decisions/0008-several-processes.md has the figures). load: connections that are open.
    """

    def __init__(self, port: Any, load: Callable[[], int]) -> None:
        self._port = port
        self._load = load
        self._accept = port.doRead
        self._waiting: asyncio.TimerHandle | None = None
        port.doRead = self._knock

    def close(self) -> None:
        """Lets nobody in any more."""
        if self._waiting is not None:
            self._waiting.cancel()

    def _knock(self) -> None:
        patience_s = min(_MAX_PATIENCE_S, _PATIENCE_S * self._load())
        if not patience_s:
            self._let_in()
            return
        self._port.stopReading()
        self._waiting = asyncio.get_running_loop().call_later(patience_s, self._after_waiting)

    def _after_waiting(self) -> None:
        self._waiting = None
        self._let_in()
        self._port.startReading()

    def _let_in(self) -> None:
        self._port.numberAccepts = 1  # Twisted raises it as long as connections come
        self._accept()
