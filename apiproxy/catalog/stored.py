"""The catalog's view of agents, read from the database at once, for admin pages and commands."""

from apiproxy.catalog.agents import AgentParts, agent_parts
from apiproxy.catalog.rows import catalog_model
from apiproxy.models import McpServer, Model


def stored_parts() -> AgentParts:
    """Models and MCP servers that agents may refer to, as stored now."""
    return agent_parts({row.pk: catalog_model(row) for row in Model.objects.all()}, list(McpServer.objects.all()))
