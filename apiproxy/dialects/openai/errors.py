"""What a client of the OpenAI API sees of a failure.

Status and type are those of the other dialect, except for a spent budget; the codes are OpenAI's own where it has one.
Source: https://platform.openai.com/docs/guides/error-codes, and which exception the `openai` package makes of a status.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.limits import LimitError
from apiproxy.dialects.openai.limit_headers import refusal_headers
from apiproxy.http.sse import dumps


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP status, and the `type` and `code` of the error object."""

    status: int
    type: str
    code: str | None = None


_SEEN_AS: Mapping[FailureKind, Failure] = {
    FailureKind.INVALID_REQUEST: Failure(400, "invalid_request_error"),
    FailureKind.UNAUTHENTICATED: Failure(401, "authentication_error", "invalid_api_key"),
    FailureKind.KEY_ENDED: Failure(401, "authentication_error", "invalid_api_key"),
    FailureKind.FORBIDDEN: Failure(403, "permission_error", "permission_denied"),
    FailureKind.NOT_FOUND: Failure(404, "not_found_error", "not_found"),
    FailureKind.METHOD_NOT_ALLOWED: Failure(405, "invalid_request_error", "method_not_allowed"),
    FailureKind.TOO_SLOW: Failure(408, "timeout_error", "timeout"),
    FailureKind.TOO_LARGE: Failure(413, "request_too_large", "request_too_large"),
    FailureKind.BUDGET_SPENT: Failure(429, "insufficient_quota", "insufficient_quota"),
    FailureKind.RATE_LIMITED: Failure(429, "rate_limit_error", "rate_limit_exceeded"),
    FailureKind.CLIENT_DISCONNECT: Failure(499, "api_error", "client_disconnect"),
    FailureKind.CANCELLED: Failure(500, "api_error", "cancelled"),
    FailureKind.INTERNAL: Failure(500, "api_error"),
    FailureKind.NOT_IMPLEMENTED: Failure(501, "not_implemented_error", "not_implemented"),
    FailureKind.CONNECTION_LOST: Failure(502, "api_error", "upstream_unavailable"),
    FailureKind.UPSTREAM_DOWN: Failure(502, "api_error", "upstream_unavailable"),
    FailureKind.WORKER_DIED: Failure(502, "api_error", "upstream_unavailable"),
    FailureKind.WORKER_UNAVAILABLE: Failure(502, "api_error", "upstream_unavailable"),
    FailureKind.MAX_OUTPUT: Failure(502, "api_error", "max_output"),
    FailureKind.UPSTREAM_ERROR: Failure(502, "api_error"),
    FailureKind.DATABASE_AWAY: Failure(503, "api_error", "unavailable"),
    FailureKind.STALL: Failure(504, "timeout_error", "timeout"),
    FailureKind.MAX_DURATION: Failure(504, "timeout_error", "timeout"),
    FailureKind.QUEUE_FULL: Failure(529, "overloaded_error", "overloaded"),
    FailureKind.QUEUE_TIMEOUT: Failure(529, "overloaded_error", "overloaded"),
    FailureKind.DRAINING: Failure(503, "overloaded_error", "overloaded"),
}
_MODEL_NOT_FOUND = Failure(404, "not_found_error", "model_not_found")

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
_TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")
_NO_KEY = "Missing or incorrect API key: send a key of this gateway as `Authorization: Bearer KEY`."


def failure(error: ProxyError) -> Failure:
    """The status, type and code for an error; an upstream's error keeps its own status and type."""
    if error.upstream is not None:
        return _upstream_failure(error.upstream, error.message)
    if error.kind is FailureKind.NOT_FOUND and error.param == "model":
        return _MODEL_NOT_FOUND
    return _SEEN_AS[error.kind]


def error_object(error: ProxyError) -> dict[str, Any]:
    """The body of an error answer, and of an error inside a stream: `{"error": {message, type, param, code}}`."""
    seen = failure(error)
    # The message is written for both dialects, and the other one's header is no help here.
    message = _NO_KEY if error.kind is FailureKind.UNAUTHENTICATED else error.message
    return {"error": {"message": message, "type": seen.type, "param": error.param, "code": seen.code}}


def error_response(error: ProxyError) -> HttpResponse:
    """The response for an error before the first byte."""
    response = HttpResponse(dumps(error_object(error)), status=failure(error).status, content_type="application/json")
    if error.retry_after_s is not None:
        response["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, LimitError):
        for name, value in refusal_headers(error).items():
            response[name] = value
    return response


def _upstream_failure(upstream: UpstreamError, message: str) -> Failure:
    """The code is the one by which clients of OpenAI know such a failure."""
    if upstream.type == "invalid_request_error" and message.startswith(_TOO_LONG):
        return Failure(upstream.status, upstream.type, "context_length_exceeded")
    return Failure(upstream.status, upstream.type, _UPSTREAM_CODES.get(upstream.type))
