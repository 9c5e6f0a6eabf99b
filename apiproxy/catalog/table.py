"""The catalog's tables as read from the database."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apiproxy.catalog.agents import AgentParts, agent_parts, current
from apiproxy.catalog.resolved import CatalogModel
from apiproxy.catalog.rows import catalog_model
from apiproxy.models import Agent, McpServer, Model

_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Table:
    """Models and agents of one reading.

    listed: newest first, agents included. by_name: models by ids and aliases. agents: current versions by slug.
    agent_rows, parts: to build other versions from.
    """

    loaded_at: float = -math.inf
    listed: tuple[CatalogModel, ...] = ()
    by_name: Mapping[str, CatalogModel] = field(default_factory=dict)
    agents: Mapping[str, CatalogModel] = field(default_factory=dict)
    agent_rows: Mapping[str, Agent] = field(default_factory=dict)
    parts: AgentParts = field(default_factory=lambda: AgentParts({}))


async def read_table(loaded_at: float) -> Table:
    """Read everything, in two queries, or three if there are agents."""
    models = [catalog_model(row) async for row in Model.objects.all()]
    aliases = {name: model for model in models for name in model.names}
    by_id = {model.id: model for model in models}
    rows = [row async for row in Agent.objects.all()]
    parts = agent_parts(by_id, [row async for row in McpServer.objects.all()] if rows else [])
    agents = {row.slug: current(row, parts) for row in rows}
    return Table(
        loaded_at=loaded_at,
        listed=tuple(sorted([*models, *agents.values()], key=_newest_first)),
        by_name=aliases | by_id,
        agents=agents,
        agent_rows={row.slug: row for row in rows},
        parts=parts,
    )


def _newest_first(model: CatalogModel) -> tuple[float, str]:
    """Models of an unknown date first, as in the table."""
    return -(model.created_at or _LATEST).timestamp(), model.id
