"""Parameters of a run, which hold for all of its model calls: an overlay over the CLI's own. Pure.

An overlay must never set `messages` or `tools`, which change with each call. `system` is the same in all calls.
"""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.agents import AgentSpec
from apiproxy.core.json_encoding import dumps

_PASSED_ON = ("max_tokens", "metadata", "service_tier", "stop_sequences", "temperature", "thinking", "top_k", "top_p")
_IDENTITY = {"type": "text", "text": "You are a Claude agent, built on Anthropic's Claude Agent SDK."}


def overlay_of(body: Mapping[str, Any], agent: AgentSpec) -> dict[str, Any]:
    """Overlay for a client's body. Thinking and effort are the agent's, unless the client sends its own.

    An empty `metadata` replaces the CLI's device id. A client's `system` follows the agent's if the agent allows it.
    """
    overlay: dict[str, Any] = {"model": agent.model, "metadata": {}}
    if agent.thinking is not None:
        overlay["thinking"] = dict(agent.thinking)
    overlay |= {name: body[name] for name in _PASSED_ON if body.get(name) is not None}
    config = body.get("output_config")
    effort = config.get("effort") if isinstance(config, Mapping) else None
    if (effort := effort or agent.effort) is not None:
        overlay["output_config"] = {"effort": effort}
    if agent.allow_client_system and body.get("system"):
        overlay["system"] = _system(agent.system, body["system"])
    return overlay


def overlay_settings(overlay: Mapping[str, Any]) -> dict[str, Any]:
    """CLI settings that apply an overlay to the next model calls."""
    return {"env": {"CLAUDE_CODE_EXTRA_BODY": dumps(overlay).decode()}}


def _system(agents: str, clients: object) -> list[Any]:
    """System blocks: the CLI's own first one, the agent's prompt, and the client's.

    Cached like the CLI's own, up to the last block; the upstream accepts four marks.
    """
    given = [{"type": "text", "text": clients}] if isinstance(clients, str) else clients
    blocks = [dict(block) for block in given if isinstance(block, Mapping)] if isinstance(given, list) else []
    for block in blocks:
        block.pop("cache_control", None)
    prompt = {"type": "text", "text": agents}
    system = [_IDENTITY, *([prompt] if agents else []), *blocks]
    return [*system[:-1], {**system[-1], "cache_control": {"type": "ephemeral"}}]
