"""Error responses of the OpenAI API, with OpenAI's error codes.

Source: https://platform.openai.com/docs/guides/error-codes, and the exceptions that the `openai` package raises for
each status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.errors import build_error_response, status_and_type
from apiproxy.dialects.openai.limit_headers import limit_headers


@dataclass(frozen=True, slots=True)
class Failure:
    """HTTP status, and `type` and `code` of the error object."""

    status: int
    type: str
    code: str | None = None


_BUDGET_SPENT = Failure(429, "insufficient_quota", "insufficient_quota")
_BUDGETS = (FailureKind.BUDGET_SPENT, FailureKind.AGENT_BUDGET)
_CODES: Mapping[FailureKind, str] = {
    FailureKind.UNAUTHENTICATED: "invalid_api_key",
    FailureKind.KEY_ENDED: "invalid_api_key",
    FailureKind.FORBIDDEN: "permission_denied",
    FailureKind.NOT_FOUND: "not_found",
    FailureKind.METHOD_NOT_ALLOWED: "method_not_allowed",
    FailureKind.TOO_SLOW: "timeout",
    FailureKind.TOO_LARGE: "request_too_large",
    FailureKind.RATE_LIMITED: "rate_limit_exceeded",
    FailureKind.CLIENT_DISCONNECT: "client_disconnect",
    FailureKind.CANCELLED: "cancelled",
    FailureKind.NOT_IMPLEMENTED: "not_implemented",
    FailureKind.CONNECTION_LOST: "upstream_unavailable",
    FailureKind.UPSTREAM_DOWN: "upstream_unavailable",
    FailureKind.WORKER_DIED: "upstream_unavailable",
    FailureKind.WORKER_UNAVAILABLE: "upstream_unavailable",
    FailureKind.MAX_OUTPUT: "max_output",
    FailureKind.AGENT_OUTPUT: "invalid_output",
    FailureKind.MCP_SERVER_DOWN: "mcp_server_unavailable",
    FailureKind.JAIL_UNAVAILABLE: "unavailable",
    FailureKind.DATABASE_UNAVAILABLE: "unavailable",
    FailureKind.DRAINING: "overloaded",
    FailureKind.STALL: "timeout",
    FailureKind.MAX_DURATION: "timeout",
    FailureKind.QUEUE_FULL: "overloaded",
    FailureKind.QUEUE_TIMEOUT: "overloaded",
}
_UPSTREAM_CODES: Mapping[str, str] = {
    "authentication_error": "upstream_authentication",
    "billing_error": "insufficient_quota",
    "permission_error": "permission_denied",
    "not_found_error": "model_not_found",
    "request_too_large": "request_too_large",
    "rate_limit_error": "rate_limit_exceeded",
    "overloaded_error": "overloaded",
    "timeout_error": "timeout",
}
_STATUSES: Mapping[int, int] = {529: 503}
"""OpenAI's status for an overload: clients and routers take 529 for an error that they do not know."""
_TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")
_NO_KEY = "Missing or incorrect API key: send a key of this gateway as `Authorization: Bearer KEY`."


def failure(error: ProxyError) -> Failure:
    """Status, type and code; an upstream error keeps its type, and its status unless OpenAI has another."""
    if error.kind in _BUDGETS:
        return _BUDGET_SPENT  # the other dialect's 402 is not used by OpenAI
    status, error_type = status_and_type(error)
    return Failure(_STATUSES.get(status, status), error_type, _code(error))


def error_object(error: ProxyError) -> dict[str, Any]:
    """Body of an error response or stream error: `{"error": {message, type, …}}`."""
    seen = failure(error)
    # The message of an authentication error names `x-api-key`, a header that OpenAI clients do not send.
    message = _NO_KEY if error.kind is FailureKind.UNAUTHENTICATED else error.message
    return {"error": {"message": message, "type": seen.type, "param": error.param, "code": seen.code}}


def error_response(error: ProxyError) -> HttpResponse:
    """Response to a request that failed before the first byte of its answer."""
    status = failure(error).status
    return build_error_response(error, dumps(error_object(error)), status=status, limit_headers=limit_headers)


def _code(error: ProxyError) -> str | None:
    if error.upstream is not None:
        return _upstream_code(error.upstream, error.message)
    if error.kind is FailureKind.NOT_FOUND and error.param == "model":
        return "model_not_found"
    return _CODES.get(error.kind)


def _upstream_code(upstream: UpstreamError, message: str) -> str | None:
    if upstream.type == "invalid_request_error" and message.startswith(_TOO_LONG):
        return "context_length_exceeded"
    return _UPSTREAM_CODES.get(upstream.type)
