"""Error responses of the Messages API.

Source: https://platform.claude.com/docs/en/api/errors
"""

from typing import Any

from django.http import HttpResponse

from apiproxy.core.errors import ProxyError
from apiproxy.dialects.anthropic.limit_headers import limit_headers
from apiproxy.dialects.errors import build_error_response, status_and_type


def error_object(error: ProxyError, request_id: str) -> dict[str, Any]:
    """Body of an error response, and data of an `error` event."""
    _, error_type = status_and_type(error)
    return {"type": "error", "error": {"type": error_type, "message": error.message}, "request_id": request_id}


def error_response(error: ProxyError, request_id: str) -> HttpResponse:
    """Response to a request that failed before the first byte of its answer."""
    status, _ = status_and_type(error)
    return build_error_response(error, error_object(error, request_id), status=status, limit_headers=limit_headers)
