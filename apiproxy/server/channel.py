"""A connection of Twisted's that says in JSON, with a request id, why it refuses what is no request.

Twisted itself answers with a status line and nothing else, or closes without a word where a line is too long.
"""

import asyncio
import math
from typing import Any, Protocol

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import new_id
from apiproxy.http.request import well_formed_id
from apiproxy.server.deadline import TimedChannel

LINGER_S = 5.0
"""How long a refused client may go on sending before the connection is cut: one cut at once never reads the refusal."""

_PHRASES = {
    400: b"Bad Request",
    401: b"Unauthorized",
    408: b"Request Timeout",
    413: b"Request Entity Too Large",
    414: b"URI Too Long",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    529: b"Overloaded",
}
_STATUSES = {
    FailureKind.INVALID_REQUEST: 400,
    FailureKind.UNAUTHENTICATED: 401,
    FailureKind.TOO_SLOW: 408,
    FailureKind.TOO_LARGE: 413,
    FailureKind.RATE_LIMITED: 429,
    FailureKind.INTERNAL: 500,
    FailureKind.DATABASE_AWAY: 503,
    FailureKind.QUEUE_FULL: 529,
}
"""As both dialects have them."""


class ErrorBody(Protocol):
    """The body of an error in the dialect of a path."""

    def __call__(self, path: str, kind: FailureKind, message: str, *, request_id: str) -> bytes:
        """The body; path without its query, and empty where there is none yet."""
        ...


class RefusingChannel(TimedChannel):
    """One connection; its requests come one after the other."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's is not typed
        self._refused = False

    def refuse_with(
        self, error: ProxyError, *, status: int | None = None, path: str | None = None, request_id: str = ""
    ) -> None:
        """Answers in place of the request that comes in, and takes nothing more from this connection.

        status: where it is not that of the error's kind. path: of the request, where Twisted has not read it.
        """
        if self._refused:
            return
        self._refused = True
        request = self.requests[-1] if self.requests else None
        if request is not None:
            request.drop_body()
        request_id = request_id or new_id("req_")
        status = status or _STATUSES[error.kind]
        path = self._path_so_far() if path is None else path
        body = self._error_body(path, error.kind, error.message, request_id=request_id)
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Connection", b"close"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
            *id_headers(request_id, given_id(request) if request is not None else ""),
            *self._extra_headers(request),
            *self.factory.server.extra_headers,
        ]
        if error.retry_after_s is not None:
            headers.append((b"Retry-After", b"%d" % math.ceil(error.retry_after_s)))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        transport: Any = self.transport
        transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, _PHRASES[status], lines, body))
        self._stop()  # the clock of the request
        self.setTimeout(None)  # type: ignore[no-untyped-call]  # Twisted's is not typed
        transport.loseWriteConnection()  # the end of the answer; reading goes on, or its bytes would be lost
        asyncio.get_running_loop().call_later(LINGER_S, self._cut)

    def too_slow(self) -> None:
        """The client has not sent its request in time."""
        self.refuse_with(ProxyError(FailureKind.TOO_SLOW, "The request was not sent in time"))

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def _error_body(self, path: str, kind: FailureKind, message: str, *, request_id: str) -> bytes:
        error_body: ErrorBody = self.factory.server.error_body
        return error_body(path, kind, message, request_id=request_id)

    def _path_so_far(self) -> str:
        path: bytes = getattr(self, "_path", b"")  # Twisted's, from the request line to the body's end
        return _without_query(path)

    def _extra_headers(self, request: Any) -> list[tuple[bytes, bytes]]:
        origin: bytes = request.requestHeaders.getRawHeaders(b"origin", [b""])[-1] if request is not None else b""
        extra: list[tuple[bytes, bytes]] = self.factory.server.key_gate.extra_headers(origin.decode("latin-1"))
        return extra

    def _bad(self, status: int, message: str, *, path: str | None = None) -> None:
        self.refuse_with(ProxyError(FailureKind.INVALID_REQUEST, message), status=status, path=path)

    # What Twisted does, unless the connection is refused. It has its own idea of a refusal, and a name for it.

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802 - Twisted's name
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._bad(431, "The request's headers are too large or too many")
        else:
            self._bad(400, "The request is not valid HTTP")

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        """A line is longer than Twisted keeps: the request line, or a header."""
        if self._path_so_far():
            self._bad(431, "A header of the request is too long")
        else:
            _, _, address = line.partition(b" ")
            path = _without_query(address.partition(b" ")[0])
            self._bad(414, "The request's address is too long", path=path)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Bytes of the client."""
        if not self._refused:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        """The request line, a header, or the end of the headers."""
        if not self._refused:
            super().lineReceived(line)  # type: ignore[no-untyped-call]  # Twisted's is not typed

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """A part of the body, or what comes after the request."""
        if not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:  # noqa: N802 - Twisted's name
        """The request is complete."""
        if not self._refused:
            super().allContentReceived()


def _without_query(address: bytes) -> str:
    return address.partition(b"?")[0].decode("ascii", "replace")


def given_id(request: Any) -> str:
    """The client's own `x-request-id`, whatever it is."""
    raw: bytes = request.requestHeaders.getRawHeaders(b"x-request-id", [b""])[-1]
    return raw.decode("latin-1")


def id_headers(request_id: str, given: str) -> list[tuple[bytes, bytes]]:
    """As every other answer has them."""
    clients = well_formed_id(given) or request_id
    return [(b"request-id", request_id.encode()), (b"x-request-id", clients.encode())]
