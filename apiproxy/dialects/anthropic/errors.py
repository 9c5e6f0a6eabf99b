"""Error responses of the Messages API.

Source: https://platform.claude.com/docs/en/api/errors
"""

from typing import Any

from django.http import HttpResponse

from apiproxy.core.errors import ProxyError
from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.anthropic.limit_headers import limit_headers
from apiproxy.dialects.errors import build_error_response, status_and_type


def error_object(error: ProxyError, request_id: str) -> dict[str, Any]:
    """Error object of the gateway's own errors."""
    _, error_type = status_and_type(error)
    content: dict[str, Any] = {"type": error_type, "message": error.message}
    if error.details is not None:
        content["details"] = error.details
    return {"type": "error", "error": content, "request_id": request_id}


def error_body(error: ProxyError, request_id: str) -> bytes:
    """Body of an error response, and data of an `error` event: an upstream's is passed on as it is."""
    if error.upstream is not None and error.upstream.body:
        return error.upstream.body
    return dumps(error_object(error, request_id))


def error_response(error: ProxyError, request_id: str) -> HttpResponse:
    """Response to a request that failed before the first byte of its answer."""
    status, _ = status_and_type(error)
    return build_error_response(error, error_body(error, request_id), status=status, limit_headers=limit_headers)
