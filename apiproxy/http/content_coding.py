"""Bounded decoding of a compressed request body (`content-encoding`)."""

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import brotli  # type: ignore[import-untyped]  # has none

from apiproxy.core.errors import FailureKind, ProxyError

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
except ImportError:
    from backports import zstd  # type: ignore[no-redef,unused-ignore]

CODINGS = ("gzip", "deflate", "br", "zstd")
MAX_RATIO = 100
"""A body may expand to this many times its size, and to `FREE_BYTES` in any case. Prompts as JSON expand 3 to 10 times;
without this limit a small upload would cost as much memory and time as one of 32 MB."""
FREE_BYTES = 1024 * 1024

_INPUT_BYTES = 16 * 1024
_OUTPUT_BYTES = 256 * 1024
"""Pieces of one call into C, which holds the GIL."""
_ZSTD_WINDOW_LOG = 23
"""8 MB, the most that a decoder must support. Source: RFC 9659"""


class _Decoder(Protocol):
    """Streaming decoder."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of at most about `_OUTPUT_BYTES`."""
        ...

    @property
    def complete(self) -> bool:
        """True at the end of the compressed stream."""
        ...


def decompressed_pieces(raw: bytes, coding: str, *, limit: int) -> Iterator[bytes]:
    """Pieces of the decoded body.

    coding: value of `content-encoding`. limit: maximum size of the result in bytes.
    Raises ProxyError: INVALID_REQUEST for an unknown coding, an invalid body, or one that expands too much; TOO_LARGE.
    """
    decoder = _decoder(coding)
    allowed = max(FREE_BYTES, MAX_RATIO * len(raw))
    size = 0
    try:
        for start in range(0, len(raw), _INPUT_BYTES):
            if decoder.complete:
                raise _invalid(f"The {coding} body has further data after its end")
            for piece in decoder.feed(raw[start : start + _INPUT_BYTES]):
                size += len(piece)
                if size > limit:
                    raise ProxyError(FailureKind.TOO_LARGE, "Request exceeds the maximum size once it is decompressed")
                if size > allowed:
                    raise _invalid(f"The {coding} body expands more than {MAX_RATIO} times: send it uncompressed")
                yield piece
    except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
        raise _invalid(f"The request body is not valid {coding}") from error
    if not decoder.complete:
        raise _invalid(f"The {coding} body ends too early")


def _decoder(coding: str) -> _Decoder:
    match coding:
        case "gzip" | "x-gzip":
            return _Zlib(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Deflate()
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
    raise _invalid(f"content-encoding: {coding[:50]!r} is not supported; send {', '.join(CODINGS)} or none")


def _invalid(message: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, message)


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)

    @property
    def complete(self) -> bool:
        return self._inner.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        full = False
        while (data or full) and not self._inner.eof:
            piece = self._inner.decompress(data, _OUTPUT_BYTES)
            data, full = self._inner.unconsumed_tail, len(piece) >= _OUTPUT_BYTES  # then it may hold more
            yield piece
        if self._inner.unused_data:
            raise zlib.error("data after the end")


class _Deflate:
    """`deflate` is the zlib format, but some clients send the raw one."""

    def __init__(self) -> None:
        self._inner: _Zlib | None = None

    @property
    def complete(self) -> bool:
        return self._inner is not None and self._inner.complete

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inner is None:
            has_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inner = _Zlib(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        yield from self._inner.feed(data)


class _Brotli:
    def __init__(self) -> None:
        self._inner: Any = brotli.Decompressor()

    @property
    def complete(self) -> bool:
        return bool(self._inner.is_finished())

    def feed(self, data: bytes) -> Iterator[bytes]:
        piece = self._inner.process(data, output_buffer_limit=_OUTPUT_BYTES)
        yield piece
        while not self._inner.is_finished() and (piece or not self._inner.can_accept_more_data()):
            piece = self._inner.process(b"", output_buffer_limit=_OUTPUT_BYTES)
            yield piece


class _Zstd:
    def __init__(self) -> None:
        self._inner: Any = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})

    @property
    def complete(self) -> bool:
        return bool(self._inner.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._inner.decompress(data, _OUTPUT_BYTES)
        while not self._inner.eof and not self._inner.needs_input:
            yield self._inner.decompress(b"", _OUTPUT_BYTES)
        if self._inner.unused_data:
            raise zstd.ZstdError("data after the end")
