"""The prompt of an agent's first model call, to count its tokens. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from apiproxy.core.agents import AgentSpec
from apiproxy.engines.agents.history import replay_of
from apiproxy.engines.agents.parameters import overlay_of

_ANY_ARGUMENTS: Mapping[str, Any] = {"type": "object"}


def counted_body(body: Mapping[str, Any], agent: AgentSpec) -> dict[str, Any]:
    """Messages body for count_tokens, with the agent's prompt and without `model`.

    The agent's tools are missing, as only a run connects to its MCP servers; those that the conversation has used are
    declared by name. Raises ProxyError (INVALID_REQUEST) for messages that the agent cannot take.
    """
    replay = replay_of(body.get("messages"), agent)
    messages = [{"role": turn.role, "content": turn.content} for turn in replay.turns]
    tools = [{"name": name, "input_schema": _ANY_ARGUMENTS} for name in _called(messages)]
    overlay = overlay_of(body, agent)
    counted = {
        "messages": [*messages, {"role": "user", "content": replay.prompt}],
        "system": overlay.get("system") or agent.system,
        "tools": tools,
        "thinking": overlay.get("thinking"),
    }
    return {name: value for name, value in counted.items() if value}


def _called(messages: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """Names of tools in the conversation."""
    return {
        block["name"]: None for message in messages for block in message["content"] if block.get("type") == "tool_use"
    }
