"""Strict checks of the headers that frame a request body, and a bounded decoder for chunked bodies.

An ambiguous body length lets a proxy in front and the gateway see different requests in the same bytes (request
smuggling). RFC 9112, section 6: one `content-length`, or one `transfer-encoding: chunked`, never both.
"""

from collections.abc import Callable
from typing import Any

from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

from apiproxy.core.errors import FailureKind, ProxyError

TOO_LARGE = ProxyError(FailureKind.TOO_LARGE, "Request exceeds the maximum size")
_MAX_LENGTH_DIGITS = 15
"""Python raises ValueError for integers of more than 4,300 digits; no body length needs more than these."""
_MAX_LEADING_ZEROS = 100
_FREE_CHUNKS = 10_000
_MIN_CHUNK_BYTES = 64
"""Minimum average size of chunks after the free ones: each costs as much CPU time as a kilobyte of body."""


def framing_fault(name: bytes, value: bytes, *, version: bytes, seen: Callable[[bytes], bool]) -> ProxyError | None:
    """The error for a header that frames the body wrongly; None for a valid or unrelated header.

    name: in lower case. seen: whether the request has an earlier header of that name.
    """
    if name == b"content-length":
        return _length_fault(value, given=seen(b"content-length") or seen(b"transfer-encoding"))
    if name != b"transfer-encoding":
        return None
    if version != b"HTTP/1.1":
        return _invalid("`transfer-encoding` needs HTTP/1.1")
    if seen(b"transfer-encoding") or seen(b"content-length"):
        return _invalid("The request gives the length of its body more than once")
    if value.lower() != b"chunked":
        return _invalid("`transfer-encoding` must be `chunked`")
    return None


def _length_fault(value: bytes, *, given: bool) -> ProxyError | None:
    if given:
        return _invalid("The request gives the length of its body more than once")
    if not value.isdigit() or len(value) - len(value.lstrip(b"0")) > _MAX_LEADING_ZEROS:
        return _invalid("The request's `content-length` is not a number")
    return TOO_LARGE if len(value.lstrip(b"0")) > _MAX_LENGTH_DIGITS else None


def _invalid(message: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, message)


_Decoder: Any = _ChunkedTransferDecoder


class BoundedChunks(_Decoder):  # type: ignore[misc]  # Twisted's is private and has no types
    """Chunked-body decoder with a limit.

    Calls `reject` as soon as a chunk header exceeds max_bytes for the whole body.
    """

    def __init__(
        self,
        data_callback: Callable[[bytes], None],
        finish_callback: Callable[[bytes], None],
        *,
        max_bytes: Callable[[], int],
        reject: Callable[[ProxyError], None],
    ) -> None:
        super().__init__(data_callback, finish_callback)
        self._max_bytes = max_bytes
        self._reject = reject
        self._announced_bytes = 0
        self._chunks = 0

    def _dataReceived_CHUNK_LENGTH(self) -> bool:  # noqa: N802 - Twisted's name
        complete: bool = super()._dataReceived_CHUNK_LENGTH()
        if not complete or self.state != "BODY":
            return complete
        self._chunks += 1
        self._announced_bytes += self.length
        if self._announced_bytes > self._max_bytes():
            self._fail(TOO_LARGE)
        if self._chunks > _FREE_CHUNKS + self._announced_bytes // _MIN_CHUNK_BYTES:
            self._fail(_invalid("The chunks of the request's body are too small"))
        return complete

    def _fail(self, error: ProxyError) -> None:
        self._reject(error)
        raise _MalformedChunkedDataError(error.message)  # stops the decoder; the channel has answered already
