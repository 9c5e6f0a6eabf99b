"""Every failure as a client of the OpenAI API sees it."""

import json
from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.dialects.openai.errors import error_object, error_response, failure

SEEN = {
    FailureKind.INVALID_REQUEST: (400, "invalid_request_error", None),
    FailureKind.UNAUTHENTICATED: (401, "authentication_error", "invalid_api_key"),
    FailureKind.KEY_ENDED: (401, "authentication_error", "invalid_api_key"),
    FailureKind.BUDGET_SPENT: (429, "insufficient_quota", "insufficient_quota"),
    FailureKind.AGENT_BUDGET: (429, "insufficient_quota", "insufficient_quota"),
    FailureKind.AGENT_OUTPUT: (502, "api_error", "invalid_output"),
    FailureKind.MCP_SERVER_DOWN: (503, "api_error", "mcp_server_unavailable"),
    FailureKind.JAIL_UNAVAILABLE: (503, "api_error", "unavailable"),
    FailureKind.FORBIDDEN: (403, "permission_error", "permission_denied"),
    FailureKind.NOT_FOUND: (404, "not_found_error", "not_found"),
    FailureKind.METHOD_NOT_ALLOWED: (405, "invalid_request_error", "method_not_allowed"),
    FailureKind.NOT_IMPLEMENTED: (501, "not_implemented_error", "not_implemented"),
    FailureKind.TOO_LARGE: (413, "request_too_large", "request_too_large"),
    FailureKind.RATE_LIMITED: (429, "rate_limit_error", "rate_limit_exceeded"),
    FailureKind.QUEUE_FULL: (503, "overloaded_error", "overloaded"),
    FailureKind.TOO_SLOW: (408, "timeout_error", "timeout"),
    FailureKind.DATABASE_UNAVAILABLE: (503, "api_error", "unavailable"),
    FailureKind.UPSTREAM_DOWN: (502, "api_error", "upstream_unavailable"),
    FailureKind.QUEUE_TIMEOUT: (503, "overloaded_error", "overloaded"),
    FailureKind.DRAINING: (503, "overloaded_error", "overloaded"),
    FailureKind.STALL: (504, "timeout_error", "timeout"),
    FailureKind.MAX_DURATION: (504, "timeout_error", "timeout"),
    FailureKind.MAX_OUTPUT: (502, "api_error", "max_output"),
    FailureKind.UPSTREAM_ERROR: (502, "api_error", None),
    FailureKind.CONNECTION_LOST: (502, "api_error", "upstream_unavailable"),
    FailureKind.WORKER_DIED: (502, "api_error", "upstream_unavailable"),
    FailureKind.WORKER_UNAVAILABLE: (502, "api_error", "upstream_unavailable"),
    FailureKind.CLIENT_DISCONNECT: (499, "api_error", "client_disconnect"),
    FailureKind.CANCELLED: (500, "api_error", "cancelled"),
    FailureKind.INTERNAL: (500, "api_error", None),
}


@pytest.mark.parametrize("kind", FailureKind)
def test_give_every_kind_status_type_and_code(kind: FailureKind) -> None:
    seen = failure(ProxyError(kind, "x"))
    assert (seen.status, seen.type, seen.code) == SEEN[kind]


def test_give_unknown_model_the_code_clients_look_for() -> None:
    assert failure(ProxyError(FailureKind.NOT_FOUND, "x", param="model")).code == "model_not_found"


@pytest.mark.parametrize(
    ("status", "kind", "message", "code"),
    [
        (429, "rate_limit_error", "Slow down", "rate_limit_exceeded"),
        (529, "overloaded_error", "Overloaded", "overloaded"),
        (404, "not_found_error", "model: x", "model_not_found"),
        (400, "invalid_request_error", "messages: nope", None),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "context_length_exceeded"),
        (418, "teapot_error", "short and stout", None),
    ],
)
def test_keep_status_type_and_message_of_upstream_error(status: int, kind: str, message: str, code: str | None) -> None:
    error = ProxyError(FailureKind.UPSTREAM_ERROR, message, upstream=UpstreamError(status=status, type=kind))
    assert failure(error).status == {529: 503}.get(status, status)
    assert error_object(error) == {"error": {"message": message, "type": kind, "param": None, "code": code}}


def test_return_error_object_and_retry_after() -> None:
    error = ProxyError(FailureKind.INVALID_REQUEST, "n: wrong", param="n", retry_after_s=0.2)
    response = error_response(error)
    body: Any = json.loads(response.content)
    assert response.status_code == 400
    assert body == {"error": {"message": "n: wrong", "type": "invalid_request_error", "param": "n", "code": None}}
    assert response["Retry-After"] == "1"
    assert "Retry-After" not in error_response(ProxyError(FailureKind.INTERNAL, "x"))


def test_report_missing_key_in_openai_shape() -> None:
    message = error_object(ProxyError(FailureKind.UNAUTHENTICATED, "x-api-key header is required"))["error"]["message"]
    assert "Authorization: Bearer" in message
