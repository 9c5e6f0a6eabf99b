"""Handbook and agent of the demo."""

from decimal import Decimal

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from apiproxy.models.agents import Agent
from apiproxy.models.mcp_servers import McpServer
from apiproxy.server.demo_agent import SLUG, store_demo_agent
from apiproxy.server.demo_handbook import DemoHandbook


@pytest.mark.django_db(transaction=True)
async def test_serve_pages_as_tools_of_an_mcp_server() -> None:
    handbook = DemoHandbook()
    await handbook.start()
    try:
        async with streamable_http_client(handbook.url) as streams, ClientSession(*streams[:2]) as session:
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            page = await session.call_tool("read_page", {"name": "refunds"})
            missing = await session.call_tool("read_page", {"name": "../etc/passwd"})
    finally:
        await handbook.stop()

    assert tools == {"list_pages", "read_page"}
    assert not page.is_error
    assert missing.is_error
    assert (await Agent.objects.aget(pk=SLUG)).version == 1


@pytest.mark.django_db
def test_keep_changes_of_an_administrator_at_the_next_start() -> None:
    store_demo_agent("http://127.0.0.1:1/mcp")
    agent = Agent.objects.get(pk=SLUG)
    agent.budget_usd = Decimal("0.1")
    agent.save()

    store_demo_agent("http://127.0.0.1:2/mcp")

    kept = Agent.objects.get(pk=SLUG)
    assert (kept.version, kept.budget_usd) == (2, Decimal("0.1"))
    assert McpServer.objects.get(name="handbook").url == "http://127.0.0.1:2/mcp"
