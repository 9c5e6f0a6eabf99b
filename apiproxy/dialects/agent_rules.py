"""Parts of a request that an agent does not take, as its definition has its own. Pure."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError

NO_CLIENT_TOOLS = "client tools are not available for agents yet: an agent has tools of its own"
NO_SYSTEM = "this agent takes no instructions from clients; its own apply"
NO_SERVERS = "an agent has MCP servers of its own, and none can be added to a request"
OWN_SCHEMA = "this agent's answers have a JSON schema of its own; leave this out, or send the same schema"
NO_SCHEMA = "an agent's answers have a JSON schema only if its definition has one; leave this out"
_NOT_FOR_AGENTS = "not available for agents"

_TAKEN = frozenset(
    {
        *("model", "messages", "max_tokens", "stream", "metadata", "stop_sequences", "temperature", "top_k", "top_p"),
        *("thinking", "output_config", "output_format", "system"),
        "cache_control",  # without effect: the CLI caches the prompt of its own accord
        "service_tier",
    }
)
_REASONS: Mapping[str, str] = {
    "tools": NO_CLIENT_TOOLS,
    "tool_choice": NO_CLIENT_TOOLS,
    "mcp_servers": NO_SERVERS,
    "container": "an agent has a workspace of its own; containers are not available for agents",
    "context_management": "context management is not available for agents",
    "fallbacks": "an agent has one model; fallbacks are not available for agents",
    "thread": "message threads are not available for agents; send the whole conversation",
}
_CLIENT_BLOCKS = ("tool_use", "tool_result")
_MAX_NAME_CHARS = 100
_STANDARD_TIERS = ("auto", "standard_only")


def check_agent_body(agent: AgentSpec, body: Mapping[str, Any]) -> None:
    """Check a Messages body for an agent.

    Raises ProxyError (INVALID_REQUEST) naming the first unsupported field.
    Fields without a value are the same as none.
    """
    for name, value in body.items():
        if name not in _TAKEN and not is_absent(value):
            raise not_taken(name[:_MAX_NAME_CHARS], _REASONS.get(name, _NOT_FOR_AGENTS))
    if not agent.allow_client_system and not is_absent(body.get("system")):
        raise not_taken("system", NO_SYSTEM)
    if not is_absent(tier := body.get("service_tier")) and tier not in _STANDARD_TIERS:
        raise not_taken("service_tier", _NOT_FOR_AGENTS)
    config = body.get("output_config")
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if name not in ("effort", "format") and not is_absent(value):
            raise not_taken(f"output_config.{name[:_MAX_NAME_CHARS]}", _NOT_FOR_AGENTS)
    for name, value in (
        ("output_config.format", _member(config, "format")),
        ("output_format", body.get("output_format")),
    ):
        if not is_absent(value):
            check_schema(agent, _member(value, "schema"), name)
    _check_messages(body.get("messages"))


def check_schema(agent: AgentSpec, schema: object, field: str) -> None:
    """Check a schema that the client wants the answer to have. None: JSON of any shape. field: its path.

    Raises ProxyError (INVALID_REQUEST) for another than the agent's.
    """
    if agent.output_schema is None:
        raise not_taken(field, NO_SCHEMA)
    if schema is not None and schema != agent.output_schema:
        raise not_taken(field, OWN_SCHEMA)


def is_absent(value: object) -> bool:
    """True for null and for empty text, lists and objects."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def not_taken(field: str, reason: str) -> ProxyError:
    """400 for a field of a request for an agent."""
    return ProxyError(FailureKind.INVALID_REQUEST, f"{field}: {reason}", param=field)


def _check_messages(messages: object) -> None:
    for at, message in enumerate(messages if isinstance(messages, list) else ()):
        content = _member(message, "content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if _member(block, "type") in _CLIENT_BLOCKS:
                raise not_taken(f"messages.{at}.content.{index}", NO_CLIENT_TOOLS)


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None
