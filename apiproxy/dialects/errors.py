"""Error statuses, types and response headers shared by the dialects."""

import math
from collections.abc import Callable, Iterable, Mapping

from django.http import HttpResponse

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.limits import LimitError, LimitState

_STATUS_AND_TYPE: Mapping[FailureKind, tuple[int, str]] = {
    FailureKind.INVALID_REQUEST: (400, "invalid_request_error"),
    FailureKind.UNAUTHENTICATED: (401, "authentication_error"),
    FailureKind.KEY_ENDED: (401, "authentication_error"),
    FailureKind.BUDGET_SPENT: (402, "billing_error"),
    FailureKind.AGENT_BUDGET: (402, "billing_error"),
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
    FailureKind.AGENT_OUTPUT: (502, "api_error"),
    FailureKind.UPSTREAM_ERROR: (502, "api_error"),
    FailureKind.DATABASE_UNAVAILABLE: (503, "api_error"),
    FailureKind.MCP_SERVER_DOWN: (503, "api_error"),
    FailureKind.JAIL_UNAVAILABLE: (503, "api_error"),
    FailureKind.DRAINING: (503, "overloaded_error"),
    FailureKind.STALL: (504, "timeout_error"),
    FailureKind.MAX_DURATION: (504, "timeout_error"),
    FailureKind.QUEUE_FULL: (529, "overloaded_error"),
    FailureKind.QUEUE_TIMEOUT: (529, "overloaded_error"),
}
"""The Messages API's own statuses and types. Source: https://platform.claude.com/docs/en/api/errors"""

_NOT_RETRYABLE = frozenset(
    {
        FailureKind.NOT_IMPLEMENTED,
        FailureKind.AGENT_BUDGET,
        FailureKind.AGENT_OUTPUT,
        FailureKind.JAIL_UNAVAILABLE,
    }
)
_NEVER_RETRY = {"x-should-retry": "false"}
"""The official SDKs ask again after a 429 or 5xx otherwise."""


def status_and_type(error: ProxyError) -> tuple[int, str]:
    """HTTP status and error type; those of an upstream error are passed on."""
    if error.upstream is not None:
        return error.upstream.status, error.upstream.type
    return _STATUS_AND_TYPE[error.kind]


def build_error_response(
    error: ProxyError,
    body: bytes,
    *,
    status: int,
    limit_headers: Callable[[LimitState], dict[str, str]],
) -> HttpResponse:
    """JSON error response with limit headers, retry hints and the upstream's headers."""
    response = HttpResponse(body, status=status, content_type="application/json")
    headers = _retry_after(error)
    if error.kind in _NOT_RETRYABLE:
        headers |= _NEVER_RETRY
    if isinstance(error, LimitError):
        headers |= limit_headers(error.state) | _sdk_retry_hints(error)
    for name, value in (*headers.items(), *_upstream_headers(error)):
        response[name] = value
    return response


def _retry_after(error: ProxyError) -> dict[str, str]:
    return {} if error.retry_after_s is None else {"Retry-After": str(math.ceil(error.retry_after_s))}


def _upstream_headers(error: ProxyError) -> Iterable[tuple[str, str]]:
    return () if error.upstream is None else error.upstream.headers.items()


def _sdk_retry_hints(error: LimitError) -> dict[str, str]:
    """Retry headers of the official SDKs: never, or after milliseconds."""
    if not error.retryable:
        return _NEVER_RETRY
    if error.retry_after_s is not None:
        return {"retry-after-ms": str(math.ceil(error.retry_after_s * 1000))}
    return {}
