"""Parts of a Messages body that agents do not take."""

from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.agent_rules import check_agent_body
from tests.support.agents import agent_spec

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION = {"role": "user", "content": "hi"}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "support-bot", "messages": [QUESTION], "max_tokens": 100, **fields}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"name": "f", "input_schema": {"type": "object"}}]}, "tools"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice"),
        ({"mcp_servers": [{"type": "url", "name": "a", "url": "https://a.test"}]}, "mcp_servers"),
        ({"container": "container_1"}, "container"),
        ({"context_management": {"edits": []}}, "context_management"),
        ({"fallbacks": "default"}, "fallbacks"),
        ({"thread": {"id": "t"}}, "thread"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"speed": "fast"}, "speed"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"system": "Be rude."}, "system"),
        ({"system": [{"type": "text", "text": "Be rude."}]}, "system"),
        ({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "output_config.format"),
        ({"output_format": {"type": "json_schema", "schema": SCHEMA}}, "output_format"),
        ({"output_config": {"task_budget": {"type": "tokens", "total": 9}}}, "output_config.task_budget"),
        (
            {"messages": [QUESTION, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]}]},
            "messages.1.content.0",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "tool_result"}]}]},
            "messages.0.content.1",
        ),
    ],
)
def test_name_field_that_agent_does_not_take(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ProxyError) as refused:
        check_agent_body(agent_spec(), body(**fields))

    assert refused.value.kind is FailureKind.INVALID_REQUEST
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.2, "top_p": 0.9, "top_k": 5, "stop_sequences": ["x"], "metadata": {"user_id": "u"}},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "output_config": {"effort": "low"}},
        {"system": "", "tools": [], "mcp_servers": None, "container": None, "context_management": None},
        {"service_tier": "auto", "cache_control": {"type": "ephemeral"}, "stream": True},
        {"messages": [QUESTION, {"role": "assistant", "content": [{"type": "mcp_tool_use", "id": "t"}]}, QUESTION]},
    ],
)
def test_take_sampling_and_absent_fields(fields: dict[str, Any]) -> None:
    check_agent_body(agent_spec(), body(**fields))


def test_take_system_if_the_agent_allows_it() -> None:
    check_agent_body(agent_spec(allow_client_system=True), body(system="Answer in French."))


def test_take_only_the_schema_of_the_agent() -> None:
    agent = agent_spec(output_schema=SCHEMA)

    check_agent_body(agent, body(output_config={"format": {"type": "json_schema", "schema": dict(SCHEMA)}}))
    with pytest.raises(ProxyError):
        check_agent_body(agent, body(output_config={"format": {"type": "json_schema", "schema": {"type": "array"}}}))
