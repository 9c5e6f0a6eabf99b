"""Which headers may say where a body ends, stricter than Twisted reads them, and chunks with a bound.

A body of doubtful length is how a proxy in front and we come to see different requests in the same bytes. RFC 9112,
section 6: one `content-length`, or one `transfer-encoding: chunked`, never both.
"""

from collections.abc import Callable
from typing import Any

from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

from apiproxy.core.errors import FailureKind, ProxyError

TOO_LARGE = ProxyError(FailureKind.TOO_LARGE, "Request exceeds the maximum size")
_MAX_LENGTH_DIGITS = 15
"""Python refuses to read numbers of more than 4,300 digits, and no body has a length of more than these."""
_MAX_LEADING_ZEROS = 100
_FREE_CHUNKS = 10_000
_MIN_CHUNK_BYTES = 64
"""What chunks have to hold on average, beyond the first ones: each costs as much work as a kilobyte."""


def framing_fault(name: bytes, value: bytes, *, version: bytes, seen: Callable[[bytes], bool]) -> ProxyError | None:
    """Why a request with this header is refused; None if the header is sound, or not about the body's length.

    name: in lower case. seen: whether the request has had a header of that name before.
    """
    if name == b"content-length":
        return _length_fault(value, given=seen(b"content-length") or seen(b"transfer-encoding"))
    if name != b"transfer-encoding":
        return None
    if version != b"HTTP/1.1":
        return _invalid("`transfer-encoding` needs HTTP/1.1")
    if seen(b"transfer-encoding") or seen(b"content-length"):
        return _invalid("The length of the request's body is given more than once")
    if value.lower() != b"chunked":
        return _invalid("The only `transfer-encoding` that is understood is `chunked`")
    return None


def _length_fault(value: bytes, *, given: bool) -> ProxyError | None:
    if given:
        return _invalid("The length of the request's body is given more than once")
    if not value.isdigit() or len(value) - len(value.lstrip(b"0")) > _MAX_LEADING_ZEROS:
        return _invalid("The request's `content-length` is not a number")
    return TOO_LARGE if len(value.lstrip(b"0")) > _MAX_LENGTH_DIGITS else None


def _invalid(message: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, message)


_Decoder: Any = _ChunkedTransferDecoder


class BoundedChunks(_Decoder):  # type: ignore[misc]  # Twisted's is private and has no types
    """A body in chunks; `refuse` is called as soon as a chunk announces more than max_bytes for the whole body."""

    def __init__(
        self,
        data_callback: Callable[[bytes], None],
        finish_callback: Callable[[bytes], None],
        *,
        max_bytes: Callable[[], int],
        refuse: Callable[[ProxyError], None],
    ) -> None:
        super().__init__(data_callback, finish_callback)
        self._max_bytes = max_bytes
        self._refuse = refuse
        self._announced_bytes = 0
        self._chunks = 0

    def _dataReceived_CHUNK_LENGTH(self) -> bool:  # noqa: N802 - Twisted's name
        read: bool = super()._dataReceived_CHUNK_LENGTH()
        if not read or self.state != "BODY":
            return read
        self._chunks += 1
        self._announced_bytes += self.length
        if self._announced_bytes > self._max_bytes():
            self._give_up(TOO_LARGE)
        if self._chunks > _FREE_CHUNKS + self._announced_bytes // _MIN_CHUNK_BYTES:
            self._give_up(_invalid("The chunks of the request's body are too small"))
        return read

    def _give_up(self, error: ProxyError) -> None:
        self._refuse(error)
        raise _MalformedChunkedDataError(error.message)  # ends the decoder; the channel has refused already
