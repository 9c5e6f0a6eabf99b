"""A request's body as a JSON object, with an error that says what is wrong with it."""

import asyncio
import io
from typing import Any

import orjson
from django.http import HttpRequest

from apiproxy.errors import FailureKind, ProxyError

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The Messages API's own limit. Source: https://platform.claude.com/docs/en/api/errors"""
_PARSE_IN_THREAD_BYTES = 512 * 1024


def take_body(request: HttpRequest) -> bytes:
    """The body, which the request has no more afterwards: an answer may take an hour, and its body is 32 MB at most."""
    raw = request.body
    request._body = b""
    request._stream = io.BytesIO()
    return raw


async def read_json_object(raw: bytes) -> dict[str, Any]:
    """The object that the bytes hold. Raises ProxyError: INVALID_REQUEST, TOO_LARGE."""
    if len(raw) > MAX_BODY_BYTES:
        raise ProxyError(FailureKind.TOO_LARGE, "Request exceeds the maximum size")
    try:
        body = await asyncio.to_thread(orjson.loads, raw) if len(raw) > _PARSE_IN_THREAD_BYTES else orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = f"The request body is not valid JSON: {error}"
        raise ProxyError(FailureKind.INVALID_REQUEST, message) from None
    if not isinstance(body, dict):
        raise ProxyError(FailureKind.INVALID_REQUEST, "The request body must be a JSON object")
    return body
