"""What an Anthropic client sees of a failure. Source: https://platform.claude.com/docs/en/api/errors"""

import math
from typing import Any

from django.http import HttpResponse

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.limits import LimitError
from apiproxy.dialects.anthropic.limit_headers import refusal_headers
from apiproxy.http.sse import dumps

_SEEN_AS: dict[FailureKind, tuple[int, str]] = {
    FailureKind.INVALID_REQUEST: (400, "invalid_request_error"),
    FailureKind.UNAUTHENTICATED: (401, "authentication_error"),
    FailureKind.KEY_ENDED: (401, "authentication_error"),
    FailureKind.BUDGET_SPENT: (402, "billing_error"),
    FailureKind.FORBIDDEN: (403, "permission_error"),
    FailureKind.NOT_FOUND: (404, "not_found_error"),
    FailureKind.METHOD_NOT_ALLOWED: (405, "invalid_request_error"),
    FailureKind.TOO_SLOW: (408, "timeout_error"),
    FailureKind.TOO_LARGE: (413, "request_too_large"),
    FailureKind.RATE_LIMITED: (429, "rate_limit_error"),
    FailureKind.CLIENT_DISCONNECT: (499, "api_error"),
    FailureKind.CANCELLED: (500, "api_error"),
    FailureKind.INTERNAL: (500, "api_error"),
    FailureKind.NOT_IMPLEMENTED: (501, "not_implemented_error"),
    FailureKind.CONNECTION_LOST: (502, "api_error"),
    FailureKind.UPSTREAM_DOWN: (502, "api_error"),
    FailureKind.WORKER_DIED: (502, "api_error"),
    FailureKind.WORKER_UNAVAILABLE: (502, "api_error"),
    FailureKind.MAX_OUTPUT: (502, "api_error"),
    FailureKind.UPSTREAM_ERROR: (502, "api_error"),
    FailureKind.DATABASE_AWAY: (503, "api_error"),
    FailureKind.STALL: (504, "timeout_error"),
    FailureKind.MAX_DURATION: (504, "timeout_error"),
    FailureKind.QUEUE_FULL: (529, "overloaded_error"),
    FailureKind.QUEUE_TIMEOUT: (529, "overloaded_error"),
    FailureKind.DRAINING: (503, "overloaded_error"),
}


def status_and_type(error: ProxyError) -> tuple[int, str]:
    """The HTTP status and `error.type`; an upstream's error keeps its own."""
    if error.upstream is not None:
        return error.upstream.status, error.upstream.type
    return _SEEN_AS[error.kind]


def error_object(error: ProxyError, request_id: str) -> dict[str, Any]:
    """The body of an error response and the data of an `error` event."""
    _, kind = status_and_type(error)
    return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}


def error_response(error: ProxyError, request_id: str) -> HttpResponse:
    """The response for an error before the first byte."""
    status, _ = status_and_type(error)
    response = HttpResponse(dumps(error_object(error, request_id)), status=status, content_type="application/json")
    if error.retry_after_s is not None:
        response["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, LimitError):
        for name, value in refusal_headers(error).items():
            response[name] = value
    return response
