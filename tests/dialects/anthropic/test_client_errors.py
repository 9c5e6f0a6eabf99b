"""Errors reach the official client as the classes, statuses and words that the real API would have given."""

from collections.abc import Mapping
from typing import Any

import anthropic
import pytest
from anthropic import APIStatusError

from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL = "claude-sonnet-5-5"


def ask(client: anthropic.Anthropic, prompt: str, **fields: Any) -> Any:
    given: dict[str, Any] = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": prompt}]}
    return client.messages.create(**given | fields)


def error_of(error: APIStatusError) -> tuple[str, str]:
    assert isinstance(error.body, dict)
    assert error.body["type"] == "error"
    named = error.body.get("request_id")
    if named != error.request_id:  # an upstream's error keeps its own; an event has no headers
        assert error.response.headers.get("x-upstream-request-id") in (named, None)
        assert error.response.headers.get("x-upstream-request-id") or error.response.is_success
    return error.body["error"]["type"], error.body["error"]["message"]


UPSTREAM = [
    (400, anthropic.BadRequestError, "invalid_request_error"),
    (401, anthropic.AuthenticationError, "authentication_error"),
    (402, APIStatusError, "billing_error"),
    (403, anthropic.PermissionDeniedError, "permission_error"),
    (404, anthropic.NotFoundError, "not_found_error"),
    (413, anthropic.RequestTooLargeError, "request_too_large"),
    (429, anthropic.RateLimitError, "rate_limit_error"),
    (500, anthropic.InternalServerError, "api_error"),
    (503, anthropic.ServiceUnavailableError, "api_error"),
    (529, anthropic.OverloadedError, "overloaded_error"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("status", "kind", "error_type"), UPSTREAM)
def test_raise_upstream_error_in_client(
    gateway: GatewayProcess, status: int, kind: type[APIStatusError], error_type: str, stream: bool
) -> None:
    with pytest.raises(kind) as failed:
        ask(gateway.client(), f"[[status={status}]] [[message=its own words]]", stream=stream)

    assert failed.value.status_code == status
    assert error_of(failed.value) == (error_type, "its own words")
    assert failed.value.request_id is not None
    assert failed.value.request_id.startswith("req_")


def test_leave_retry_of_upstream_429_to_client(gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()

    message = ask(gateway.client(max_retries=1), f"[[flaky={sent}:1:429]] [[n=1]]")

    assert message.content[0].text == "tok0 "
    assert len(stand_in.recorded(containing=sent)) == 2


@pytest.mark.fault("The upstream", "fails once by 500, 529 or a lost connection", plain="200")
@pytest.mark.parametrize("fault", ["500", "529", "drop"])
def test_hide_temporary_fault_from_client(gateway: GatewayProcess, stand_in: StandInProcess, fault: str) -> None:
    sent = mark()

    assert ask(gateway.client(), f"[[flaky={sent}:1:{fault}]] [[n=1]]").content[0].text == "tok0 "

    assert len(stand_in.recorded(containing=sent)) == 2


@pytest.mark.parametrize("fault", ["[[drop]]", "[[cut=2]]"])
def test_answer_502_to_lost_upstream_connection(gateway: GatewayProcess, fault: str) -> None:
    with pytest.raises(anthropic.InternalServerError) as failed:
        ask(gateway.client(), fault)

    assert failed.value.status_code == 502
    assert error_of(failed.value) == ("api_error", "The connection to the upstream API was lost.")


@pytest.mark.parametrize(
    ("fault", "error_type", "message"),
    [
        ("[[miderror=2]]", "overloaded_error", "Overloaded"),
        ("[[miderror=2]] [[type=api_error]] [[message=boom]]", "api_error", "boom"),
        ("[[cut=2]] [[gap=0.1]]", "api_error", "The connection to the upstream API was lost."),
    ],
)
def test_raise_error_in_stream_and_never_end_normally(
    gateway: GatewayProcess, fault: str, error_type: str, message: str
) -> None:
    seen: list[str] = []

    with (
        pytest.raises(APIStatusError) as failed,
        ask(gateway.client(), f"[[n=9]] {fault}", stream=True) as stream,
    ):
        seen += [event.type for event in stream]

    assert "message_stop" not in seen
    assert error_of(failed.value) == (error_type, message)


def test_answer_error_status_on_error_in_plain_answer(gateway: GatewayProcess) -> None:
    with pytest.raises(anthropic.OverloadedError) as failed:
        ask(gateway.client(), "[[n=9]] [[miderror=2]]")

    assert failed.value.status_code == 529


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content: "),
        ({"messages": []}, "messages: "),
        ({"max_tokens": "many"}, "max_tokens: "),
        ({"model": ""}, "model: "),
    ],
)
def test_name_wrong_field(gateway: GatewayProcess, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as failed:
        ask(gateway.client(), "hi", **fields)

    error_type, said = error_of(failed.value)
    assert error_type == "invalid_request_error"
    assert said.startswith(message)


def test_raise_authentication_error_for_wrong_key(gateway: GatewayProcess) -> None:
    with pytest.raises(anthropic.AuthenticationError) as failed:
        ask(gateway.client(api_key="sk-wrong"), "hi")

    assert error_of(failed.value) == ("authentication_error", "invalid x-api-key")


def test_raise_permission_error_for_forbidden_model(gateway: GatewayProcess, secrets: Mapping[str, str]) -> None:
    limited = gateway.client(api_key=secrets["haiku only"])

    with pytest.raises(anthropic.PermissionDeniedError) as failed:
        ask(limited, "hi")

    assert error_of(failed.value)[0] == "permission_error"
    assert ask(limited, "[[n=1]]", model="haiku").content[0].text == "tok0 "


def test_raise_too_large_error_over_32_mb(gateway: GatewayProcess) -> None:
    with pytest.raises(anthropic.RequestTooLargeError) as failed:
        ask(gateway.client(), "x" * (33 * 2**20))

    assert failed.value.status_code == 413
    assert error_of(failed.value)[0] == "request_too_large"


def test_batches_are_said_to_be_missing(gateway: GatewayProcess) -> None:
    with pytest.raises(APIStatusError) as failed:
        gateway.client().messages.batches.list()

    assert failed.value.status_code == 501
    assert error_of(failed.value)[0] == "not_implemented_error"
