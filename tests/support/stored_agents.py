"""Agents and MCP servers as administrators define them."""

from typing import Any

from apiproxy.models import Agent, McpServer

MODEL = "claude-haiku-4-5-20251001"


def make_server(name: str = "search", *, token: str = "", **fields: Any) -> McpServer:
    """A valid server, stored; token: the value of its header `authorization`."""
    server = McpServer(name=name, **({"url": "https://mcp.example.org/mcp"} | fields))
    server.set_secrets(headers={"authorization": token} if token else {}, env={})
    server.full_clean()
    server.save(force_insert=True)
    return server


def make_agent(slug: str = "support-bot", **fields: Any) -> Agent:
    """A valid agent, stored, or a new version of it."""
    agent = Agent.objects.filter(pk=slug).first() or Agent(slug=slug, display_name="Support", model=MODEL)
    for name, value in fields.items():
        setattr(agent, name, value)
    agent.full_clean(validate_unique=False)
    agent.save()
    return agent
