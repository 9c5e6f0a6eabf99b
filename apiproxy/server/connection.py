"""HTTP channel with a deadline per request.

It answers malformed requests with a JSON error and a request id.
Twisted answers with a bare status line, and closes without an answer where a line is too long. Its own timeout restarts
with every byte, so a client that sends one now and then could keep a connection open for ever.
"""

import asyncio
import logging
import math
from typing import Any, Protocol

from twisted.web.http import HTTPChannel

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import new_id
from apiproxy.http.request import well_formed_id

logger = logging.getLogger(__name__)

BYTES_PER_S = 64 * 1024
"""Minimum upload rate: the deadline moves by a second for each such amount received."""
LINGER_S = 5.0
"""Time for a rejected client to stop sending. Closed at once, the connection is reset and the response lost."""

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


class ErrorBody(Protocol):
    """Renders an error in the dialect of a path."""

    def __call__(self, path: str, kind: FailureKind, message: str, *, request_id: str) -> tuple[int, bytes]:
        """Status and body of the response. path: without its query; empty where no path has been received yet."""
        ...


class JsonErrorChannel(HTTPChannel):
    """One connection; its requests come one after the other.

    `factory.server` has `request_timeout_s` (for receiving a request), `error_body`, `key_gate` and `extra_headers`.
    """

    _deadline: asyncio.TimerHandle | None = None
    _started_at = 0.0
    _received_bytes = 0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's is not typed
        self._rejected = False

    def reject(
        self, error: ProxyError, *, status: int | None = None, path: str | None = None, request_id: str = ""
    ) -> None:
        """Answers the request being received with an error, ignores further input and closes the connection.

        status: overrides the status of the error's kind. path: of the request, where Twisted has not parsed it.
        """
        if self._rejected:
            return
        self._rejected = True
        request = self.requests[-1] if self.requests else None
        cors_headers = self._cors_headers(request)
        if request is not None:
            request.drop_body()
        request_id = request_id or new_id("req_")
        error_body: ErrorBody = self.factory.server.error_body
        path = self._path_so_far() if path is None else path
        usual, body = error_body(path, error.kind, error.message, request_id=request_id)
        status = status or usual
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Connection", b"close"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
            *request_id_headers(request_id, raw_request_id(request) if request is not None else ""),
            *cors_headers,
            *self.factory.server.extra_headers,
        ]
        if error.retry_after_s is not None:
            headers.append((b"Retry-After", b"%d" % math.ceil(error.retry_after_s)))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        transport: Any = self.transport
        transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, _PHRASES[status], lines, body))
        self._cancel_deadline()
        self.setTimeout(None)  # type: ignore[no-untyped-call]  # Twisted's is not typed
        transport.loseWriteConnection()  # half-close: unread input would reset the connection
        asyncio.get_running_loop().call_later(LINGER_S, self._abort)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def _path_so_far(self) -> str:
        path: bytes = getattr(self, "_path", b"")  # Twisted's, from the request line to the body's end
        return _without_query(path)

    def _cors_headers(self, request: Any) -> list[tuple[bytes, bytes]]:
        origin = None if request is None else raw_origin(request)
        if not origin and (request is None or request.content is None):
            origin = None  # the head is not complete
        headers: list[tuple[bytes, bytes]] = self.factory.server.key_gate.cors_headers(origin)
        return headers

    def _reject_malformed(self, status: int, message: str, *, path: str | None = None) -> None:
        self.reject(ProxyError(FailureKind.INVALID_REQUEST, message), status=status, path=path)

    # The request deadline.

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._check_deadline)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _check_deadline(self) -> None:
        allowed_s = self.factory.server.request_timeout_s + self._received_bytes / BYTES_PER_S
        left_s = self._started_at + allowed_s - asyncio.get_running_loop().time()
        if left_s > 0:
            self._set_deadline(left_s)
            return
        self._deadline = None
        logger.info("client.too_slow")
        self.reject(ProxyError(FailureKind.TOO_SLOW, "The request was not sent in time"))

    # Twisted's methods. A rejected connection ignores its input.

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802 - Twisted's name
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._reject_malformed(431, "The request's headers are too large or too many")
        else:
            self._reject_malformed(400, "The request is not valid HTTP")

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        """Rejects a request line or header that is longer than Twisted's buffer."""
        if self._path_so_far():
            self._reject_malformed(431, "A header of the request is too long")
        else:
            _, _, address = line.partition(b" ")
            path = _without_query(address.partition(b" ")[0])
            self._reject_malformed(414, "The request's URL is too long", path=path)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self._rejected:
            return
        if self._deadline is None and not self._handlingRequest:
            self._started_at, self._received_bytes = asyncio.get_running_loop().time(), 0
            self._set_deadline(self.factory.server.request_timeout_s)
        self._received_bytes += len(data)
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted's is not typed

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's name
        if not self._rejected:
            super().lineReceived(line)  # type: ignore[no-untyped-call]  # Twisted's is not typed

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if not self._rejected:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:  # noqa: N802 - Twisted's name
        if not self._rejected:
            self._cancel_deadline()
            super().allContentReceived()  # type: ignore[no-untyped-call]  # Twisted's is not typed

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted's name
        self._cancel_deadline()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted's is not typed


def _without_query(address: bytes) -> str:
    return address.partition(b"?")[0].decode("ascii", "replace")


def raw_request_id(request: Any) -> str:
    """The client's own `x-request-id`, unchecked."""
    raw: bytes = request.requestHeaders.getRawHeaders(b"x-request-id", [b""])[-1]
    return raw.decode("latin-1")


def raw_origin(request: Any) -> str:
    """The request's `Origin` header; empty if it has none."""
    raw: bytes = request.requestHeaders.getRawHeaders(b"origin", [b""])[-1]
    return raw.decode("latin-1")


def request_id_headers(request_id: str, raw_id: str) -> list[tuple[bytes, bytes]]:
    """The same two headers as every other response has."""
    return [(b"request-id", request_id.encode()), (b"x-request-id", (well_formed_id(raw_id) or request_id).encode())]
