"""Reading a request body as a JSON object: decompressed, in UTF-8, parsed."""

import io
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpRequest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_values import ValueBudget
from apiproxy.core.offload import offload
from apiproxy.http.charset import needs_recoding, utf8_body
from apiproxy.http.content_coding import decompressed_pieces

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Limit of the Messages API. Source: https://platform.claude.com/docs/en/api/errors"""


RESERVE = "gateway.reserve_body"
"""Key of the ASGI scope: function that reserves memory for further bytes of this body, in the event loop's thread. It
raises ProxyError where the key's share is used up."""

_TYPICAL_RATIO = 10
_STEP_BYTES = 2 * 1024 * 1024
"""Decompressed at a time, before more memory is reserved."""


async def received_body(request: HttpRequest) -> bytes:
    """Removes the body from the request (`take_body`) and decodes it.

    Decompressed, and in UTF-8 without a byte order mark.
    Raises ProxyError: INVALID_REQUEST, TOO_LARGE, and what the reservation of memory raises.
    """
    raw = take_body(request)
    coding = request.headers.get("content-encoding", "").strip().lower()
    if raw and coding not in ("", "identity"):
        raw = await _decompressed(raw, coding, reserve=_reserve_of(request))
    content_type = request.headers.get("content-type", "")
    if needs_recoding(raw, content_type):
        raw = await offload(len(raw), utf8_body, raw, content_type)
    return raw


async def _decompressed(raw: bytes, coding: str, *, reserve: Callable[[int], None]) -> bytes:
    pieces = decompressed_pieces(raw, coding, limit=MAX_BODY_BYTES)
    taken: list[bytes] = []
    while step := await offload(len(raw) * _TYPICAL_RATIO, _step, pieces):
        reserve(sum(map(len, step)))
        taken += step
    return await offload(sum(map(len, taken)), b"".join, taken)


def _step(pieces: Iterator[bytes]) -> list[bytes]:
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size >= _STEP_BYTES:
            break
    return taken


def _reserve_of(request: HttpRequest) -> Callable[[int], None]:
    reserve: Callable[[int], None] | None = getattr(request, "scope", {}).get(RESERVE)
    return reserve or (lambda size: None)  # another ASGI server, whose own limits count


def take_body(request: HttpRequest) -> bytes:
    """Removes the body from the request.

    Otherwise up to 32 MB stay in memory while the response streams.
    """
    raw = request.body
    request._body = b""
    request._stream = io.BytesIO()
    return raw


async def read_json_object(raw: bytes) -> dict[str, Any]:
    """Parses a JSON object, in a thread where it is large. Raises ProxyError: INVALID_REQUEST, TOO_LARGE."""
    return await offload(len(raw), parse_json_object, raw)


def parse_json_object(raw: bytes, budget: ValueBudget | None = None) -> dict[str, Any]:
    """Like `read_json_object`, but in the calling thread. budget: limits the number of values."""
    if len(raw) > MAX_BODY_BYTES:
        raise ProxyError(FailureKind.TOO_LARGE, "Request exceeds the maximum size")
    try:
        body = (budget or ValueBudget()).loads(raw)
    except ValueError as error:
        message = f"The request body is not valid JSON: {_reason(error)}"
        raise ProxyError(FailureKind.INVALID_REQUEST, message) from None
    if not isinstance(body, dict):
        raise ProxyError(FailureKind.INVALID_REQUEST, "The request body must be a JSON object")
    return body


def _reason(error: ValueError) -> str:
    text = str(error)
    if "not valid UTF-8" in text:
        return "it is not valid UTF-8; name another encoding as `charset` in the content type"
    if "infinity" in text:
        return f"a number is beyond the range of a 64-bit float ({text.rpartition(': ')[2]})"
    return text
