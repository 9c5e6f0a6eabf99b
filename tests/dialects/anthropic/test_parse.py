"""The gateway judges what it reads itself, names the field at fault, and leaves the rest to the upstream."""

from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.anthropic.parse import beta_names, check_body, check_thread, with_default_max_tokens

GOOD: dict[str, Any] = {"model": "sonnet", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": None},
        {"stream": True},
        {"stream": None},
        {"system": "text"},
        {"system": [{"type": "text", "text": "a"}]},
        {"system": None},
        {"metadata": {"user_id": None}},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "user", "content": [{"type": "block_of_tomorrow"}], "field_of_tomorrow": 1}]},
        {"messages": [{"role": "role_of_tomorrow", "content": "hi"}]},
        {"temperature": "hot", "tool_choice": "many", "field_of_tomorrow": object()},
    ],
)
def test_leave_judgement_to_upstream(fields: dict[str, Any]) -> None:
    assert check_body(GOOD | fields).model == "sonnet"


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": None, "output_format": {"type": "json_schema"}},
        {"tools": [], "output_config": {"format": {}}},
        {"output_format": None, "output_config": {"format": {}}},
        {"output_format": {}, "output_config": {"format": None, "effort": "low"}},
        {"output_format": {}, "output_config": "x"},
    ],
)
def test_accept_what_the_cli_can_send(fields: dict[str, Any]) -> None:
    check_body(GOOD | fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": True}, "tools"),
        ({"tools": "many"}, "tools"),
        ({"output_format": {}, "output_config": {"format": {}}}, "output_format"),
        ({"output_format": True, "output_config": {"format": {"type": "json_schema"}}}, "output_format"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {"role": "user", "content": "hi"}}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [*GOOD["messages"], {"role": "user", "content": ["hi"]}]}, "messages.1.content"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10_000_001}, "max_tokens"),
        ({"max_tokens": 2**63}, "max_tokens"),
        ({"max_tokens": 2**64 - 1}, "max_tokens"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"system": 5}, "system"),
        ({"system": ["text"]}, "system"),
        ({"metadata": "me"}, "metadata"),
    ],
)
def test_reject_field_of_wrong_type_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ProxyError) as refused:
        check_body(GOOD | fields)

    assert refused.value.kind is FailureKind.INVALID_REQUEST
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")


@pytest.mark.parametrize("name", ["model", "messages"])
def test_name_missing_field_as_api_does(name: str) -> None:
    with pytest.raises(ProxyError) as refused:
        check_body({field: value for field, value in GOOD.items() if field != name})

    assert refused.value.message == f"{name}: Field required"


def test_keep_body_out_of_rejection() -> None:
    with pytest.raises(ProxyError) as refused:
        check_body(GOOD | {"system": 12345678})

    assert "12345678" not in refused.value.message
    assert "pydantic" not in refused.value.message


@pytest.mark.parametrize("given", [{}, {"max_tokens": None}])
def test_without_max_tokens_the_models_own_maximum_is_filled_in(given: dict[str, Any]) -> None:
    body = {"model": "m", **given}

    assert with_default_max_tokens(body, max_output_tokens=64_000) == {"model": "m", "max_tokens": 64_000}
    assert body == {"model": "m", **given}


def test_keep_clients_max_tokens() -> None:
    assert with_default_max_tokens({"max_tokens": 0}, max_output_tokens=64_000) == {"max_tokens": 0}


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (None, ()),
        ("", ()),
        ("a-2025-01-01", ("a-2025-01-01",)),
        ("a,b", ("a", "b")),
        (" a , , b ,", ("a", "b")),
    ],
)
def test_split_beta_header_into_names(header: str | None, names: tuple[str, ...]) -> None:
    assert beta_names(header) == names


@pytest.mark.parametrize("name", ["betas", "user_profile_id", "workspace_id", "program_use_case_id"])
def test_reject_future_upstream_headers_as_api_does(name: str) -> None:
    body = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "hi"}], name: "mine"}

    with pytest.raises(ProxyError, match=f"{name}: Extra inputs are not permitted") as refused:
        check_body(body)

    assert (refused.value.kind, refused.value.param) == (FailureKind.INVALID_REQUEST, name)


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}, "x"])
def test_reject_a_thread_on_the_sdk_engine(thread: object) -> None:
    with pytest.raises(ProxyError) as caught:
        check_thread(GOOD | {"thread": thread}, "sdk")

    error = caught.value
    assert (error.kind, error.param) == (FailureKind.INVALID_REQUEST, "thread")
    assert error.details == {"error_code": "thread_unsupported_request"}


def test_accept_a_thread_elsewhere_and_none_at_all() -> None:
    check_thread(GOOD | {"thread": {"type": "create"}}, "http")
    check_thread(GOOD | {"thread": None}, "sdk")
    check_thread(GOOD, "sdk")
