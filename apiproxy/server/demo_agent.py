"""Agent of the demo, in the database."""

from django.db import transaction

from apiproxy.models import Model
from apiproxy.models.agents import Agent
from apiproxy.models.mcp_servers import McpServer, Transport

SLUG = "demo-agent"
_SERVER = "handbook"
_PREFERRED_MODEL = "claude-haiku-4-5-20251001"


def store_demo_agent(handbook_url: str) -> None:
    """Make the agent and its MCP server where they are missing, and note the server's address of this start.

    Everything else stays as an administrator has changed it.
    """
    with transaction.atomic():
        server, made = McpServer.objects.get_or_create(
            name=_SERVER, defaults={"transport": Transport.HTTP, "url": handbook_url}
        )
        if not made and server.url != handbook_url:
            server.url = handbook_url
            server.save(update_fields=["url"])
        if Agent.objects.filter(pk=SLUG).exists():
            return
        model = Model.objects.filter(pk=_PREFERRED_MODEL).first() or Model.objects.filter(enabled=True).last()
        if model is None:
            return
        agent = Agent(
            slug=SLUG,
            display_name="Demo agent",
            description="Answers from a small handbook, with the tools of an MCP server.",
            model=model.pk,
            system="You answer questions from the handbook.",
            mcp_servers=[_SERVER],
            budget_usd="0.5",
        )
        agent.changed_by = "demo"
        agent.save()
