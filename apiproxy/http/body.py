"""Reading a request body as a JSON object."""

import io
from typing import Any

from django.http import HttpRequest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_values import ValueBudget
from apiproxy.core.offload import offload

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Limit of the Messages API. Source: https://platform.claude.com/docs/en/api/errors"""


def take_body(request: HttpRequest) -> bytes:
    """Removes the body from the request: else up to 32 MB stay in memory for as long as the response streams."""
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
        message = f"The request body is not valid JSON: {error}"
        raise ProxyError(FailureKind.INVALID_REQUEST, message) from None
    if not isinstance(body, dict):
        raise ProxyError(FailureKind.INVALID_REQUEST, "The request body must be a JSON object")
    return body
