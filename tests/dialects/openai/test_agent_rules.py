"""Parts of OpenAI's requests that agents do not take."""

from typing import Any

import pytest

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.openai.agent_rules import agent_request
from apiproxy.dialects.openai.chat.parse import read_chat
from apiproxy.dialects.openai.responses.compaction import read_compact
from apiproxy.dialects.openai.responses.parse import read_responses
from tests.dialects.openai.support import function, tool_turn, user
from tests.support.agents import agent_spec

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
STRUCTURED = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
MCP = {"type": "mcp", "server_label": "a", "server_url": "https://a.test", "require_approval": "never"}
FLAT_STRUCTURED = {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}


def chat(agent: AgentSpec, **fields: Any) -> Any:
    return agent_request(read_chat({"model": "support-bot", "messages": [user("hi")], **fields}), agent)


def responses(agent: AgentSpec, **fields: Any) -> Any:
    return agent_request(read_responses({"model": "support-bot", "input": "hi", **fields}), agent)


def refused_at(call: Any, **fields: Any) -> str | None:
    with pytest.raises(ProxyError) as refused:
        call(agent_spec(), **fields)
    assert refused.value.kind is FailureKind.INVALID_REQUEST
    assert refused.value.message.startswith(f"{refused.value.param}: ")
    return refused.value.param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [function("f")]}, "tools"),
        ({"tools": [function("f")], "tool_choice": "required"}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"n": 2}, "n"),
        ({"messages": [{"role": "system", "content": "Be rude."}, user("hi")]}, "messages.0"),
        ({"messages": [user("hi"), {"role": "developer", "content": "Be rude."}]}, "messages.1"),
        ({"messages": tool_turn(("call_1", "done"))}, "messages.1"),
        ({"response_format": STRUCTURED}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_name_chat_field_that_agent_does_not_take(fields: dict[str, Any], param: str) -> None:
    assert refused_at(chat, **fields) == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [FUNCTION]}, "tools.0"),
        ({"tools": [MCP]}, "tools.0"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"instructions": "Be rude."}, "instructions"),
        ({"input": [{"role": "developer", "content": "Be rude."}, user("hi")]}, "input.0"),
        ({"input": [user("hi"), {"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input.1"),
        ({"text": FLAT_STRUCTURED}, "text.format.schema"),
    ],
)
def test_name_responses_field_that_agent_does_not_take(fields: dict[str, Any], param: str) -> None:
    assert refused_at(responses, **fields) == param


def test_refuse_compaction() -> None:
    request = read_compact({"model": "support-bot", "input": "hi"})

    with pytest.raises(ProxyError) as refused:
        agent_request(request, agent_spec())

    assert refused.value.param == "input"


def test_take_instructions_if_the_agent_allows_them() -> None:
    agent = agent_spec(allow_client_system=True)

    assert (
        chat(agent, messages=[{"role": "system", "content": "In French."}, user("hi")]).messages[0]["role"] == "system"
    )
    assert responses(agent, instructions="In French.").instructions == "In French."


def test_leave_out_format_that_the_agent_has_itself() -> None:
    agent = agent_spec(output_schema=SCHEMA)

    assert chat(agent, response_format=STRUCTURED).response_format is None
    assert chat(agent, response_format={"type": "json_object"}).response_format is None
    assert responses(agent, text={**FLAT_STRUCTURED, "verbosity": "low"}).text.format is None


def test_take_empty_tools_and_automatic_choice() -> None:
    assert chat(agent_spec(), tools=[], tool_choice="auto").tools == []
    assert responses(agent_spec(), tools=[], tool_choice="none").tools == []
