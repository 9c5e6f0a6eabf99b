"""Overlay of a client's parameters over all model calls of a run."""

from dataclasses import replace
from typing import Any

import pytest

from apiproxy.core.agents import AgentSpec
from apiproxy.engines.agents.parameters import overlay_of

AGENT = AgentSpec(slug="bot", version=1, display_name="Bot", model="m", system="Be kind.")


def test_pass_sampling_parameters_on() -> None:
    body = {
        "max_tokens": 9,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
        "stop_sequences": ["a"],
        "metadata": {"user_id": "u"},
    }

    assert overlay_of(body, AGENT) == {"model": "m", **body}


@pytest.mark.parametrize("name", ["messages", "tools", "system", "model", "stream", "mcp_servers"])
def test_never_overlay_what_the_agent_sets(name: str) -> None:
    assert overlay_of({name: ["x"]}, AGENT) == {"model": "m", "metadata": {}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "high", "format": {}}},
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}},
        ),
    ],
)
def test_prefer_clients_effort_and_thinking(body: dict[str, Any], expected: dict[str, Any]) -> None:
    agent = replace(AGENT, effort="low", thinking={"type": "adaptive"})

    assert overlay_of(body, agent) == {"model": "m", "metadata": {}, **expected}


@pytest.mark.parametrize(
    "system", ["Briefly.", [{"type": "text", "text": "Briefly.", "cache_control": {"type": "ephemeral"}}]]
)
def test_add_clients_system_to_agents(system: Any) -> None:
    agent = replace(AGENT, allow_client_system=True)
    blocks = overlay_of({"system": system}, agent)["system"]

    assert [block["text"] for block in blocks[1:]] == ["Be kind.", "Briefly."]
    assert [bool(block.get("cache_control")) for block in blocks] == [False, False, True]
