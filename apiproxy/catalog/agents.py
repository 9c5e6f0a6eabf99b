"""Agents of the catalog from rows of the tables. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from apiproxy.catalog.resolved import DEFAULT_MAX_OUTPUT_TOKENS, CatalogModel, Unavailable
from apiproxy.core.agents import TOOL_CALL_DISPLAYS, AgentSpec, McpServerSpec, ToolCallDisplay
from apiproxy.core.encryption import UnreadableError
from apiproxy.core.errors import FailureKind
from apiproxy.models import Agent, AgentVersion, McpServer
from apiproxy.models.agent_checks import VERSION_MARK
from apiproxy.models.agents import AgentDefinition

_DISPLAYS: Mapping[str, ToolCallDisplay] = {name: name for name in TOOL_CALL_DISPLAYS}


@dataclass(frozen=True, slots=True)
class AgentParts:
    """Models and servers that agents refer to by name.

    servers: the enabled ones. refused: the reasons why others cannot be used.
    """

    models: Mapping[str, CatalogModel]
    servers: Mapping[str, McpServerSpec] = field(default_factory=dict, repr=False)
    optional: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


def agent_parts(models: Mapping[str, CatalogModel], servers: list[McpServer]) -> AgentParts:
    """Parts from the rows; decrypts the servers' secrets."""
    usable: dict[str, McpServerSpec] = {}
    refused: dict[str, str] = {}
    for row in servers:
        if not row.enabled:
            refused[row.name] = "is disabled"
            continue
        try:
            usable[row.name] = row.spec()
        except UnreadableError as error:
            refused[row.name] = f"has secrets that cannot be read ({error}); enter them again"
    optional = frozenset(row.name for row in servers if not row.required)
    return AgentParts(models=models, servers=usable, optional=optional, refused=refused)


def current(agent: Agent, parts: AgentParts) -> CatalogModel:
    """The agent's current version under its slug."""
    return _entry(agent, agent, agent.version, parts)


def pinned(agent: Agent, version: AgentVersion, parts: AgentParts) -> CatalogModel:
    """A version of the agent under `slug@N`."""
    return as_pinned(_entry(agent, version, version.number, parts), version.number)


def as_pinned(entry: CatalogModel, number: int) -> CatalogModel:
    """The same version under `slug@N`."""
    name = pinned_name(entry.id, number)
    return replace(entry, id=name, names=entry.names | {name})


def pinned_name(slug: str, number: int | str) -> str:
    """Model id of a version."""
    return f"{slug}{VERSION_MARK}{number}"


def missing_version(agent: Agent, number: str) -> CatalogModel:
    """Disabled model that stands for a version that does not exist."""
    name = pinned_name(agent.slug, number)
    return CatalogModel(
        id=name,
        max_output_tokens=DEFAULT_MAX_OUTPUT_TOKENS,
        names=frozenset({agent.slug, name}),
        enabled=False,
        engine="agents",
        display_name=name,
        family="",
        lifecycle="active",
        created_at=None,
        retires_at=None,
        context_window=None,
    )


def problem_of(definition: AgentDefinition, parts: AgentParts) -> Unavailable | None:
    """Reason why the definition cannot run; None if it can."""
    model = parts.models.get(definition.model)
    if model is None or not model.enabled:
        reason = f"The model {definition.model} {'does not exist' if model is None else 'is disabled'}."
        return Unavailable(FailureKind.NOT_FOUND, "its model is not available", reason)
    for name in definition.mcp_servers:
        if name not in parts.servers and name not in parts.optional:
            reason = f"The MCP server {name} {parts.refused.get(name, 'does not exist')}."
            return Unavailable(FailureKind.MCP_SERVER_DOWN, "one of its MCP servers is not available", reason)
    return None


def _entry(agent: Agent, definition: AgentDefinition, number: int, parts: AgentParts) -> CatalogModel:
    model = parts.models.get(definition.model)
    return CatalogModel(
        id=agent.slug,
        max_output_tokens=DEFAULT_MAX_OUTPUT_TOKENS if model is None else model.max_output_tokens,
        prices=None if model is None else model.prices,
        names=frozenset({agent.slug}),
        enabled=agent.enabled,
        engine="agents",
        agent=_spec(agent.slug, definition, number, parts),
        unavailable=problem_of(definition, parts),
        display_name=definition.display_name,
        family="",
        lifecycle="active",
        created_at=agent.created_at,
        retires_at=None if model is None else model.retires_at,
        context_window=None if model is None else model.context_window,
        description=definition.description,
        capabilities=None if model is None else model.capabilities,
    )


def _spec(slug: str, definition: AgentDefinition, number: int, parts: AgentParts) -> AgentSpec:
    return AgentSpec(
        slug=slug,
        version=number,
        display_name=definition.display_name,
        model=definition.model,
        description=definition.description,
        system=definition.system,
        effort=definition.effort or None,
        thinking=definition.thinking,
        mcp_servers=tuple([parts.servers[name] for name in definition.mcp_servers if name in parts.servers]),
        tools=tuple(definition.tools),
        max_calls=definition.max_calls,
        budget_usd=definition.budget_usd,
        max_duration_s=definition.max_duration_s,
        output_schema=definition.output_schema,
        show_tool_calls=_DISPLAYS.get(definition.show_tool_calls, "none"),
        allow_client_system=definition.allow_client_system,
        min_idle=definition.min_idle,
    )
