"""Body and headers of an upstream request."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence

from apiproxy.core.json_encoding import dump_pieces, dumps
from apiproxy.core.offload import LARGE_BYTES
from apiproxy.engines.base import EngineRequest

Piece = bytes | memoryview

_PIECE_BYTES = 256 * 1024
"""A larger body is written in pieces: one long write would hold up the event loop."""

_CONTROL = re.compile(r"[\x00-\x08\n-\x1f\x7f]")
"""aiohttp rejects some of these in a header, and the upstream the others."""


def request_body(request: EngineRequest) -> list[Piece]:
    """Body of the upstream request: as received, or encoded; in pieces if it is large.

    Raises RecursionError if it is nested too deeply.
    """
    if request.raw_body is not None:
        return _pieces(request.raw_body)
    body = {**request.body, "model": request.model}
    if request.stream or "stream" in body:
        body["stream"] = request.stream
    if request.body_bytes > LARGE_BYTES:
        return list(dump_pieces(body))
    return _pieces(dumps(body))


def request_headers(request: EngineRequest, *, size_bytes: int) -> dict[str, str]:
    """The client's headers for the upstream, and those that every request has."""
    headers = {
        "accept": "application/json",
        "content-type": "application/json",
        **{name: _as_received(value) for name, value in request.headers.items() if not _CONTROL.search(value)},
        "anthropic-version": request.api_version,
        "content-length": str(size_bytes),
    }
    if request.betas:
        headers.setdefault("anthropic-beta", ",".join(request.betas))
    return headers


def _as_received(value: str) -> str:
    """A header's value as aiohttp must get it: it writes UTF-8, while servers decode the bytes as Latin-1."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode()
    except UnicodeError:
        return value


async def written(pieces: Sequence[Piece]) -> AsyncIterator[Piece]:
    """The pieces, with a chance for other tasks between them."""
    for piece in pieces:
        yield piece


def _pieces(body: bytes) -> list[Piece]:
    if len(body) <= _PIECE_BYTES:
        return [body]
    view = memoryview(body)
    return [view[start : start + _PIECE_BYTES] for start in range(0, len(body), _PIECE_BYTES)]


_PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
_LIMITS_PREFIX = "anthropic-ratelimit-"
_MAX_HEADERS = 64
_MAX_HEADER_CHARS = 1_024


def response_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Response headers that are passed on: retry hints, rate limits, and the request id."""
    passed: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower == "request-id":
            lower = "x-upstream-request-id"
        elif lower not in _PASSED_ON and not lower.startswith(_LIMITS_PREFIX):
            continue
        if len(value) <= _MAX_HEADER_CHARS and len(passed) < _MAX_HEADERS and value.isprintable():
            passed[lower] = value
    return passed
