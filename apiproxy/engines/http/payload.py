"""Body and headers of an upstream request."""

from collections.abc import AsyncIterator, Mapping, Sequence

from apiproxy.core.json_encoding import dump_pieces, dumps
from apiproxy.core.offload import LARGE_BYTES
from apiproxy.engines.base import EngineRequest

_PIECE_BYTES = 256 * 1024
"""A larger body is written in pieces: one long write would hold up the event loop."""


def request_body(request: EngineRequest) -> list[bytes | memoryview]:
    """The received body, or the encoded one; in pieces if it is large. Raises RecursionError for too deep a nesting."""
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
        **request.headers,
        "anthropic-version": request.api_version,
        "content-length": str(size_bytes),
    }
    if request.betas:
        headers.setdefault("anthropic-beta", ",".join(request.betas))
    return headers


async def written(pieces: Sequence[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    """The pieces, with a chance for other tasks between them."""
    for piece in pieces:
        yield piece


def _pieces(body: bytes) -> list[bytes | memoryview]:
    if len(body) <= _PIECE_BYTES:
        return [body]
    view = memoryview(body)
    return [view[start : start + _PIECE_BYTES] for start in range(0, len(body), _PIECE_BYTES)]


_PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
_LIMITS_PREFIX = "anthropic-ratelimit-"
_MAX_HEADERS = 64
_MAX_HEADER_CHARS = 1_024


def response_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of the upstream's response that the client gets: retry hints, rate limits, and the request's id."""
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
