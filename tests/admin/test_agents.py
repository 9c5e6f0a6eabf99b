"""Admin pages of agents and their versions."""

import re
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from apiproxy.gateway import gateway
from apiproxy.keys.cache import create_key
from apiproxy.models import Agent, AgentVersion, McpServer, Model
from tests.support.stored_agents import MODEL, make_agent, make_server

pytestmark = pytest.mark.django_db

AGENTS = "/admin/apiproxy/agent/"
VERSIONS = "/admin/apiproxy/agentversion/"
FIELDS = {
    "slug": "support-bot",
    "display_name": "Support",
    "description": "Answers",
    "enabled": "on",
    "model": MODEL,
    "system": "You answer.\r\nBe brief.",
    "effort": "low",
    "thinking_mode": "enabled",
    "thinking_budget": "2048",
    "tools": ["Bash", "Read"],
    "mcp_servers": ["search"],
    "show_tool_calls": "names",
    "max_calls": "9",
    "budget_usd": "0.5",
    "max_duration_s": "60",
    "min_idle": "1",
    "output_schema": '{"type": "object"}',
}


@pytest.fixture
def admin_client(client: Client) -> Client:
    client.force_login(get_user_model().objects.create(username="rita", is_staff=True, is_superuser=True))
    return client


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def saved(client: Client, path: str, **fields: Any) -> str:
    response = client.post(path, FIELDS | fields, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def changed(client: Client, slug: str = "support-bot", **fields: Any) -> str:
    version = Agent.objects.get(pk=slug).version
    return saved(client, f"{AGENTS}{slug}/change/", **({"base_version": version} | fields))


def test_add_agent_that_clients_find(admin_client: Client) -> None:
    make_server()
    saved(admin_client, f"{AGENTS}add/")
    agent = async_to_sync(gateway().catalog.resolve)("support-bot").agent
    assert agent is not None
    assert (agent.name, agent.model, agent.tools, agent.max_calls) == ("support-bot@1", MODEL, ("Bash", "Read"), 9)
    assert agent.thinking == {"type": "enabled", "budget_tokens": 2048}
    assert agent.mcp_servers[0].name == "search"
    assert AgentVersion.objects.get().created_by == "rita"


def test_make_version_on_change_only(admin_client: Client) -> None:
    make_server()
    saved(admin_client, f"{AGENTS}add/")
    assert AgentVersion.objects.get().system == "You answer.\r\nBe brief."
    changed(admin_client)
    changed(admin_client, enabled="")
    assert Agent.objects.get().version == 1
    changed(admin_client, system="You answer.\r\nBe polite.", thinking_mode="", thinking_budget="")
    agent = Agent.objects.get()
    assert (agent.version, agent.thinking) == (2, None)
    html = page(admin_client, f"{AGENTS}support-bot/change/")
    assert "support-bot@1" in html
    assert "system, thinking" in html


def test_refuse_change_of_outdated_page(admin_client: Client) -> None:
    make_server()
    saved(admin_client, f"{AGENTS}add/")
    changed(admin_client, display_name="Other")
    assert "Somebody else has changed" in changed(admin_client, base_version=1, display_name="Mine")
    assert Agent.objects.get().display_name == "Other"


@pytest.mark.parametrize(
    "fields",
    [
        *[{"slug": "opus"}, {"slug": "A"}, {"model": "claude-none"}, {"tools": ["Web"]}, {"mcp_servers": ["none"]}],
        *[{"max_calls": "0"}, {"budget_usd": "0"}, {"thinking_budget": ""}, {"output_schema": "[1]"}, {"effort": "x"}],
    ],
)
def test_reject_agent(admin_client: Client, fields: dict[str, Any]) -> None:
    make_server()
    saved(admin_client, f"{AGENTS}add/", **fields)
    assert not Agent.objects.exists()


def test_explain_why_agent_cannot_run(admin_client: Client, settings: Settings) -> None:
    make_server()
    make_agent(mcp_servers=["search"])
    assert "in use" in page(admin_client, AGENTS)
    McpServer.objects.update(enabled=False)
    assert "cannot run" in page(admin_client, AGENTS)
    assert "The MCP server search is disabled." in page(admin_client, f"{AGENTS}support-bot/change/")
    McpServer.objects.update(enabled=True)
    Model.objects.filter(pk=MODEL).delete()
    assert f"The model {MODEL} does not exist." in page(admin_client, f"{AGENTS}support-bot/change/")
    settings.GATEWAY = replace(settings.GATEWAY, model_aliases={"support-bot": "opus"})
    assert "CLAUDE_PROXY_MODEL_ALIASES" in page(admin_client, f"{AGENTS}support-bot/change/")


def test_list_agents_with_constant_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        make_agent(f"bot-{number}")
    with django_assert_max_num_queries(12):
        page(admin_client, AGENTS)


def test_name_keys_that_may_use_agent(admin_client: Client) -> None:
    make_agent()
    path = f"{AGENTS}support-bot/change/"
    async_to_sync(create_key)("every-model")
    assert "none: name it in the allowed models" in page(admin_client, path)
    async_to_sync(create_key)("the-helper", allowed_models=["support-*"])
    async_to_sync(create_key)("the-pinned", allowed_models=["support-bot@1"])
    html = page(admin_client, path)
    assert "the-helper, the-pinned" in html
    assert "every-model" not in html


def test_show_version_with_difference(admin_client: Client) -> None:
    make_agent(system="one\ntwo\n<b>three</b>", tools=["Bash"])
    make_agent(system="one\n2\n<b>three</b>", tools=["Bash", "Read"])
    html = page(admin_client, f"{VERSIONS}{AgentVersion.objects.get(number=2).pk}/change/")
    assert re.findall(r"<(?:del|ins)>[^<]*", html) == ["<del>two", "<ins>2", "<ins>Read"]
    assert "<b>three" not in html
    assert "system, tools" in page(admin_client, VERSIONS)


def test_allow_no_change_of_version(admin_client: Client) -> None:
    make_agent()
    pk = AgentVersion.objects.get().pk
    assert admin_client.post(f"{VERSIONS}{pk}/change/", {"slug": "x"}).status_code == 403
    assert admin_client.post(f"{VERSIONS}{pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{VERSIONS}add/").status_code == 403


def test_restore_version_as_new_one(admin_client: Client) -> None:
    make_agent(system="one")
    make_agent(system="two")
    first = AgentVersion.objects.get(number=1)
    html = admin_client.post(VERSIONS, {"action": "restore", "_selected_action": [first.pk]}, follow=True)
    assert "support-bot@3" in html.content.decode()
    agent = Agent.objects.get()
    assert (agent.version, agent.system) == (3, "one")
    assert AgentVersion.objects.get(number=3).created_by == "rita"
    make_agent().delete()
    html = admin_client.post(VERSIONS, {"action": "restore", "_selected_action": [first.pk]}, follow=True)
    assert "There is no agent" in html.content.decode()


def test_show_viewers_definition_without_json(client: Client) -> None:
    make_server()
    make_agent(mcp_servers=["search"], tools=["Bash", "Read"], thinking={"type": "adaptive"})
    viewer = get_user_model().objects.create(username="viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_agent", "view_agentversion"]))
    client.force_login(viewer)
    html = page(client, f"{AGENTS}support-bot/change/")
    for text in ("Bash, Read", "search", "adaptive", "support-bot@1"):
        assert text in html
    version = AgentVersion.objects.get()
    assert "restore" not in page(client, VERSIONS)
    assert "Bash" in page(client, f"{VERSIONS}{version.pk}/change/")
    assert client.post(VERSIONS, {"action": "restore", "_selected_action": [version.pk]}).status_code in (200, 302)
    assert Agent.objects.get().version == 1


def test_link_agents_in_navigation(admin_client: Client) -> None:
    html = page(admin_client, AGENTS)
    assert f'href="{AGENTS}"' in html
    assert 'href="/admin/apiproxy/mcpserver/"' in html
