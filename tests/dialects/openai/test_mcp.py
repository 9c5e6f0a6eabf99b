"""MCP tools of Responses clients: the upstream's MCP connector, and its calls as OpenAI's items."""

from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.translate.mcp import MAX_HEADERS, MAX_TOOLS
from apiproxy.dialects.openai.translate.messages_body import Target
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer
from tests.dialects.openai.server_tools import LISTING, MCP_CALL, MCP_RESULT, MCP_SERVER, MCP_TOOL, text
from tests.dialects.openai.support import MODEL, Events, answer, folded, payloads, responses

TOOLSET = {"type": "mcp_toolset", "mcp_server_name": "calc"}


def mcp(**fields: Any) -> dict[str, Any]:
    """The body with one MCP tool; fields of None are left out."""
    return {"tools": [{name: value for name, value in {**MCP_TOOL, **fields}.items() if value is not None}]}


def refusal(body: dict[str, Any]) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        responses(body)
    assert caught.value.kind is FailureKind.INVALID_REQUEST
    return caught.value


def streamed(events: Events) -> list[Any]:
    encoder = ResponsesStream(responses({}).reply, created=7)
    return payloads(encoder.encode(events) + encoder.finish())


def plain(events: Events) -> dict[str, Any]:
    return response_object(folded(events), responses({}).reply, created=7)


def test_call_mcp_servers_at_the_upstream() -> None:
    translated = responses(mcp(authorization="token", server_description=None))
    assert translated.body["mcp_servers"] == [{**MCP_SERVER, "authorization_token": "token"}]
    assert translated.body["tools"] == [TOOLSET]
    assert translated.betas == ("mcp-client-2026-09-15",)
    assert translated.ignored == ()


def test_send_no_beta_without_an_mcp_server() -> None:
    assert responses({"tools": [{"type": "web_search"}]}).betas == ()


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer token"}, {"authorization": "bearer token"}, {"AUTHORIZATION": "BEARER token"}]
)
def test_send_a_bearer_header_as_the_token(headers: dict[str, str]) -> None:
    assert responses(mcp(headers=headers)).body["mcp_servers"][0]["authorization_token"] == "token"


@pytest.mark.parametrize("headers", [{"X-Tenant": "secret"}, {"Authorization": "Basic c2VjcmV0"}])
def test_reject_headers_that_cannot_be_sent(headers: dict[str, str]) -> None:
    error = refusal(mcp(headers=headers))
    assert error.param == "tools.0.headers"
    assert not any(value in error.message for value in headers.values())


def test_hide_credentials_in_the_response() -> None:
    reply = responses(mcp(authorization="secret-1", headers={"Authorization": "Bearer secret-2"})).reply
    assert "secret" not in str(reply)
    assert reply.echo["tools"][0]["authorization"] == "<redacted>"
    assert reply.echo["tools"][0]["headers"] == {"Authorization": "<redacted>"}


@pytest.mark.parametrize(
    ("fields", "enabled"),
    [
        ({"allowed_tools": ["a", "b"]}, ["a", "b"]),
        ({"allowed_tools": {"tool_names": ["a"]}}, ["a"]),
        ({"allowed_tools": []}, []),
        ({"require_approval": {"never": {"tool_names": ["a"]}}}, ["a"]),
        ({"require_approval": {"never": {"tool_names": ["a", "b"]}, "always": {"tool_names": ["b"]}}}, ["a"]),
        ({"allowed_tools": ["b", "a"], "require_approval": {"never": {"tool_names": ["a", "c"]}}}, ["a"]),
    ],
)
def test_enable_only_tools_that_need_no_approval(fields: dict[str, Any], enabled: list[str]) -> None:
    (toolset,) = responses(mcp(**fields)).body["tools"]
    assert toolset == {
        **TOOLSET,
        "default_config": {"enabled": False},
        "configs": {name: {"enabled": True} for name in enabled},
    }


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("require_approval", {"require_approval": None}),
        ("require_approval", {"require_approval": "always"}),
        ("require_approval", {"require_approval": {"always": {"tool_names": ["a"]}}}),
        ("require_approval", {"require_approval": {"never": {}}}),
        ("require_approval.never.read_only", {"require_approval": {"never": {"read_only": True}}}),
        ("allowed_tools.read_only", {"allowed_tools": {"read_only": True}}),
        ("connector_id", {"connector_id": "connector_gmail", "server_url": None}),
        ("tunnel_id", {"tunnel_id": "t", "server_url": None}),
        ("server_url", {"server_url": None}),
        ("server_label", {"server_label": ""}),
    ],
)
def test_reject_what_could_call_more_than_allowed(param: str, fields: dict[str, Any]) -> None:
    assert refusal(mcp(**fields)).param == f"tools.0.{param}"


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("headers", {"headers": {f"h{number}": "Bearer t" for number in range(MAX_HEADERS + 1)}}),
        ("allowed_tools", {"allowed_tools": [f"t{number}" for number in range(MAX_TOOLS + 1)]}),
        (
            "require_approval.never.tool_names",
            {"require_approval": {"never": {"tool_names": [f"t{number}" for number in range(MAX_TOOLS + 1)]}}},
        ),
    ],
)
def test_limit_names_and_headers_of_a_server(param: str, fields: dict[str, Any]) -> None:
    error = refusal(mcp(**fields))
    assert error.param == f"tools.0.{param}"
    assert "at most 1" in error.message


def test_reject_two_servers_with_one_label() -> None:
    assert refusal({"tools": [MCP_TOOL, MCP_TOOL]}).param == "tools.1.server_label"


def test_name_options_without_a_counterpart() -> None:
    ignored = responses(mcp(server_description="d", defer_loading=True, allowed_callers=["programmatic"])).ignored
    assert ignored == (
        "tools.0.server_description",
        "tools.0.defer_loading",
        "tools.0.allowed_callers (called directly)",
    )


def test_reject_mcp_on_platforms_without_it() -> None:
    target = Target(model=MODEL, max_output_tokens=9, server_tools=ServerToolOffer(no_mcp="not on Amazon Bedrock"))
    with pytest.raises(ProxyError, match="not on Amazon Bedrock"):
        translate_responses(read_responses({"model": "m", "input": "hi", **mcp()}), target=target, strict=False)


@pytest.mark.parametrize("model", [MODEL, "claude-opus-5-5"])
@pytest.mark.parametrize("name", [None, "add"])
def test_force_a_call_of_one_server(model: str, name: str | None) -> None:
    other = {**MCP_TOOL, "server_label": "other"}
    choice = {"type": "mcp", "server_label": "calc"} | ({"name": name} if name else {})
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    translated = responses({"tools": [function, MCP_TOOL, other], "tool_choice": choice}, model=model)
    (toolset,) = translated.body["tools"]
    assert (toolset["mcp_server_name"], list(toolset.get("configs", ()))) == ("calc", [name] if name else [])
    assert [server["name"] for server in translated.body["mcp_servers"]] == ["calc"]
    assert translated.body["tool_choice"]["type"] == ("any" if model == MODEL else "auto")


@pytest.mark.parametrize(
    "choice", [{"type": "mcp", "server_label": "x"}, {"type": "mcp", "server_label": "calc", "name": "drop"}]
)
def test_reject_forced_tools_that_are_not_offered(choice: dict[str, Any]) -> None:
    assert (refusal({**mcp(allowed_tools=["add"]), "tool_choice": choice}).param or "").startswith("tool_choice.")


def test_emit_mcp_events_in_documented_order() -> None:
    events = streamed(answer(LISTING, MCP_CALL, MCP_RESULT, text("3"), pieces=1))
    assert [event["type"].removeprefix("response.") for event in events][2:-6] == [
        "output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done",
        "output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done",
        "mcp_call.completed", "output_item.done",
        "output_item.added",
    ]  # fmt: skip
    listing, call = events[-1]["response"]["output"][:2]
    assert listing["tools"] == [
        {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}, "annotations": None}
    ]
    assert call == {
        "id": "mcp_01Abc_1",
        "type": "mcp_call",
        "status": "completed",
        "approval_request_id": None,
        "server_label": "calc",
        "name": "add",
        "arguments": '{"a": 1, "b": 2}',
        "output": "3",
        "error": None,
    }


def test_present_a_failed_call_as_an_error() -> None:
    events = answer(MCP_CALL, {**MCP_RESULT, "is_error": True}, text("Hm"))
    call = plain(events)["output"][0]
    assert (call["status"], call["output"]) == ("failed", None)
    assert call["error"] == {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": "3"}]}
    assert "response.mcp_call.failed" in [event["type"] for event in streamed(events)]


def test_complete_parallel_calls_by_their_ids() -> None:
    second, result = {**MCP_CALL, "id": "mcptoolu_2"}, {**MCP_RESULT, "tool_use_id": "mcptoolu_2", "content": "5"}
    events = answer(MCP_CALL, second, result, MCP_RESULT)
    assert [(item["id"], item["output"]) for item in plain(events)["output"]] == [
        ("mcp_01Abc_0", "3"),
        ("mcp_01Abc_1", "5"),
    ]
    done = [event["item"]["id"] for event in streamed(events) if event["type"] == "response.output_item.done"]
    assert done == ["mcp_01Abc_1", "mcp_01Abc_0"]
