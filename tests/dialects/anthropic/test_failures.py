"""Every failure has a status, a type and words; an upstream's error keeps its own."""

import json

import anthropic
import pytest

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.dialects.anthropic.errors import error_body, error_object, error_response
from apiproxy.dialects.anthropic.stream import AnthropicStream
from apiproxy.dialects.errors import status_and_type
from apiproxy.dialects.openai.errors import error_response as openai_response

# API.md, "Errors".
DOCUMENTED = {
    FailureKind.INVALID_REQUEST: (400, "invalid_request_error"),
    FailureKind.UNAUTHENTICATED: (401, "authentication_error"),
    FailureKind.KEY_ENDED: (401, "authentication_error"),
    FailureKind.BUDGET_SPENT: (402, "billing_error"),
    FailureKind.AGENT_BUDGET: (402, "billing_error"),
    FailureKind.AGENT_OUTPUT: (502, "api_error"),
    FailureKind.MCP_SERVER_DOWN: (503, "api_error"),
    FailureKind.JAIL_UNAVAILABLE: (503, "api_error"),
    FailureKind.FORBIDDEN: (403, "permission_error"),
    FailureKind.NOT_FOUND: (404, "not_found_error"),
    FailureKind.METHOD_NOT_ALLOWED: (405, "invalid_request_error"),
    FailureKind.TOO_LARGE: (413, "request_too_large"),
    FailureKind.RATE_LIMITED: (429, "rate_limit_error"),
    FailureKind.INTERNAL: (500, "api_error"),
    FailureKind.NOT_IMPLEMENTED: (501, "not_implemented_error"),
    FailureKind.CONNECTION_LOST: (502, "api_error"),
    FailureKind.WORKER_DIED: (502, "api_error"),
    FailureKind.WORKER_UNAVAILABLE: (502, "api_error"),
    FailureKind.STALL: (504, "timeout_error"),
    FailureKind.MAX_DURATION: (504, "timeout_error"),
    FailureKind.QUEUE_FULL: (529, "overloaded_error"),
    FailureKind.TOO_SLOW: (408, "timeout_error"),
    FailureKind.DATABASE_UNAVAILABLE: (503, "api_error"),
    FailureKind.UPSTREAM_DOWN: (502, "api_error"),
    FailureKind.QUEUE_TIMEOUT: (529, "overloaded_error"),
    FailureKind.DRAINING: (503, "overloaded_error"),
}


@pytest.mark.parametrize("kind", FailureKind)
def test_give_every_failure_kind_status_and_type(kind: FailureKind) -> None:
    status, error_type = status_and_type(ProxyError(kind, "words"))

    assert 400 <= status < 600
    assert error_type.endswith("_error") or error_type == "request_too_large"
    assert (status, error_type) == DOCUMENTED.get(kind, (status, error_type))


@pytest.mark.parametrize(("status", "error_type"), [(400, "invalid_request_error"), (529, "overloaded_error")])
def test_keep_status_and_type_of_upstream_error(status: int, error_type: str) -> None:
    upstream = UpstreamError(status=status, type=error_type)

    response = error_response(ProxyError(FailureKind.UPSTREAM_ERROR, "its words", upstream=upstream), "req_1")

    assert response.status_code == status
    assert json.loads(response.content) == {
        "type": "error",
        "error": {"type": error_type, "message": "its words"},
        "request_id": "req_1",
    }


def test_give_error_object_that_official_client_reads() -> None:
    error = error_object(ProxyError(FailureKind.STALL, "late"), "req_1")

    read = anthropic.types.ErrorResponse.model_validate(error)

    assert (read.error.type, read.error.message, read.request_id) == ("timeout_error", "late", "req_1")


@pytest.mark.parametrize(("seconds", "header"), [(None, None), (0.2, "1"), (7, "7"), (7.01, "8")])
def test_retry_after_is_in_whole_seconds_and_never_too_soon(seconds: float | None, header: str | None) -> None:
    response = error_response(ProxyError(FailureKind.QUEUE_FULL, "full", retry_after_s=seconds), "req_1")

    assert response.get("Retry-After") == header


BODY = b'{"type":"error", "error": {"type":"x_error","message":"m","details":{"n":9007199254740993}},"more":1}\n'


def test_pass_on_the_upstreams_body_and_headers_as_they_are() -> None:
    upstream = UpstreamError(
        status=429, type="x_error", body=BODY, headers={"retry-after": "37", "x-should-retry": "no"}
    )
    error = ProxyError(FailureKind.UPSTREAM_ERROR, "m", upstream=upstream, retry_after_s=1)

    response = error_response(error, "req_1")

    assert response.content == BODY
    assert (response["Retry-After"], response["x-should-retry"]) == ("37", "no")
    assert openai_response(error)["Retry-After"] == "37"
    assert json.loads(openai_response(error).content)["error"].keys() == {"message", "type", "param", "code"}


def test_send_the_upstreams_body_as_the_data_of_an_error_event() -> None:
    upstream = UpstreamError(status=400, type="x_error", body=BODY.replace(b', "error"', b',\r\n "error"'))

    event = AnthropicStream("req_1").failure(ProxyError(FailureKind.UPSTREAM_ERROR, "m", upstream=upstream))

    name, *data = event.rstrip(b"\n").split(b"\n")
    assert name == b"event: error"
    assert all(line.startswith(b"data: ") for line in data)
    assert json.loads(b"\n".join(line.removeprefix(b"data: ") for line in data)) == json.loads(BODY)


def test_have_details_in_the_gateways_own_error() -> None:
    error = ProxyError(FailureKind.INVALID_REQUEST, "m", details={"error_code": "c"})

    assert json.loads(error_body(error, "req_1"))["error"] == {
        "type": "invalid_request_error",
        "message": "m",
        "details": {"error_code": "c"},
    }
