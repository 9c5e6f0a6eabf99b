"""Admin pages of MCP servers."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client, override_settings
from pytest_django import Settings

from apiproxy.admin.mcp_check import NO_TEST
from apiproxy.admin.mcp_servers import server_state
from apiproxy.core.encryption import MASK
from apiproxy.models import McpServer
from tests.support.mcp_server import McpTestServer, mcp_server
from tests.support.stored_agents import make_agent, make_server

pytestmark = pytest.mark.django_db

SERVERS = "/admin/apiproxy/mcpserver/"
SECRET = "Bearer tok-0123456789"
FIELDS = {
    "name": "search",
    "transport": "http",
    "enabled": "on",
    "required": "on",
    "url": "https://mcp.example.org/mcp",
    "headers": f"Authorization: {SECRET}\r\nx-team: a:b",
    "command": "",
    "args": "",
    "env": "",
    "allowed_tools": "*",
}


@pytest.fixture
def admin_client(client: Client) -> Client:
    client.force_login(get_user_model().objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def lab() -> Iterator[McpTestServer]:
    """A real server on a loop of its own, while this thread is Django's."""
    started, over = threading.Event(), threading.Event()
    found: list[McpTestServer] = []

    async def serve() -> None:
        async with mcp_server() as running:
            found.append(running)
            started.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(30)
    yield found[0]
    over.set()
    thread.join(30)


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def saved(client: Client, path: str, **fields: Any) -> str:
    response = client.post(path, FIELDS | fields, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def test_show_secret_nowhere_after_it_was_entered(admin_client: Client) -> None:
    assert SECRET not in saved(admin_client, f"{SERVERS}add/")
    server = McpServer.objects.get()
    assert server.spec().headers == {"authorization": SECRET, "x-team": "a:b"}
    for path in (SERVERS, f"{SERVERS}search/change/", f"{SERVERS}search/history/"):
        assert SECRET not in page(admin_client, path)
        assert server.secrets not in page(admin_client, path)
    assert f"authorization: {MASK}" in page(admin_client, f"{SERVERS}search/change/")
    saved(admin_client, f"{SERVERS}search/change/", headers=f"authorization: {MASK}\nx-team: new")
    assert McpServer.objects.get().spec().headers == {"authorization": SECRET, "x-team": "new"}
    assert SECRET not in str([(entry.change_message, entry.object_repr) for entry in LogEntry.objects.all()])


def test_ask_for_secret_again_if_address_changes(admin_client: Client) -> None:
    saved(admin_client, f"{SERVERS}add/")
    html = saved(
        admin_client, f"{SERVERS}search/change/", headers=f"authorization: {MASK}", url="https://evil.example/mcp"
    )
    assert "the address or the command has changed" in html
    assert McpServer.objects.get().url == FIELDS["url"]
    saved(admin_client, f"{SERVERS}search/change/", url="https://other.example/mcp", headers="authorization: new")
    assert McpServer.objects.get().spec().headers == {"authorization": "new"}


@pytest.mark.parametrize(
    "fields",
    [
        *[{"name": "agent"}, {"url": "http://127.0.0.1/"}, {"headers": "authorization"}, {"headers": "a: b\na: c"}],
        *[{"headers": "host: x"}, {"env": "A=b"}, {"command": "x"}, {"headers": f"x: {MASK}"}, {"allowed_tools": ""}],
    ],
)
def test_reject_server(admin_client: Client, fields: dict[str, str]) -> None:
    assert "error" in saved(admin_client, f"{SERVERS}add/", **fields)
    assert not McpServer.objects.exists()


def test_add_stdio_server(admin_client: Client) -> None:
    fields = {"transport": "stdio", "url": "", "headers": "", "command": "python3", "args": "-m\nfiles"}
    saved(admin_client, f"{SERVERS}add/", **fields, env="TOKEN=a=b ")
    spec = McpServer.objects.get().spec()
    assert (spec.args, spec.env) == (("-m", "files"), {"TOKEN": "a=b"})
    assert "python3 -m files" in page(admin_client, SERVERS)


def test_keep_name_and_show_who_uses_it(admin_client: Client) -> None:
    make_server()
    make_agent(mcp_servers=["search"])
    saved(admin_client, f"{SERVERS}search/change/", name="other", headers="")
    assert list(McpServer.objects.values_list("name", flat=True)) == ["search"]
    assert "support-bot" in page(admin_client, SERVERS)


def test_show_viewers_names_of_headers_only(client: Client) -> None:
    make_server(token=SECRET)
    viewer = get_user_model().objects.create(username="viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_mcpserver"))
    client.force_login(viewer)
    html = page(client, f"{SERVERS}search/change/")
    assert "authorization" in html
    assert SECRET not in html


def test_show_state_of_server(admin_client: Client) -> None:
    server = make_server(token=SECRET)
    assert "not tested" in page(admin_client, SERVERS)
    with override_settings(SECRET_KEY="another"):
        assert server_state(server) == "unreadable"
    server.enabled = False
    server.save()
    assert "disabled" in page(admin_client, SERVERS)


def allow_loopback(settings: Settings) -> None:
    allowed = replace(settings.GATEWAY.allowed, private_hosts=("127.0.0.1",))
    settings.GATEWAY = replace(settings.GATEWAY, allowed=allowed)


@pytest.mark.django_db(transaction=True)
def test_list_tools_on_save_and_test(admin_client: Client, settings: Settings, lab: McpTestServer) -> None:
    allow_loopback(settings)
    given = {"url": lab.url, "allowed_tools": "look*\nbad"}
    saved(admin_client, f"{SERVERS}add/", **given)
    kept = given | {"headers": f"authorization: {MASK}", "apiproxy_mcpserver_check_this": ""}
    html = saved(admin_client, f"{SERVERS}search/change/", **kept)
    assert "search: 2 tools: lookup, bad." in html
    assert "works" in html
    assert lab.headers["authorization"] == SECRET
    server = McpServer.objects.get()
    assert server.checked_at is not None
    assert server.check_problem == ""


def test_report_server_that_is_down(admin_client: Client, settings: Settings, lab: McpTestServer) -> None:
    make_server("stdio", transport="stdio", url="", command="x")
    allow_loopback(settings)
    make_server("dead", url="http://127.0.0.1:9/mcp", token=SECRET)
    make_server("none", url=lab.url, allowed_tools=["nothing"])
    make_server("live", url=lab.sse_url, transport="sse")
    names = list(McpServer.objects.values_list("name", flat=True))
    html = admin_client.post(
        SERVERS, {"action": "check_selected", "_selected_action": names}, follow=True
    ).content.decode()
    assert "dead: The MCP server cannot be reached" in html
    assert "none: The server offers no tool" in html
    assert "live: 6 tools" in html
    assert NO_TEST in html
    assert SECRET not in html
    problems = dict(McpServer.objects.values_list("name", "check_problem"))
    assert {name for name, problem in problems.items() if problem} == {"dead", "none"}
    assert "it works" in page(admin_client, f"{SERVERS}live/change/")


def test_refuse_private_address_on_test(admin_client: Client, settings: Settings, lab: McpTestServer) -> None:
    allow_loopback(settings)
    make_server("lab", url=lab.url)
    settings.GATEWAY = replace(settings.GATEWAY, allowed=replace(settings.GATEWAY.allowed, private_hosts=()))
    html = admin_client.post(
        SERVERS, {"action": "check_selected", "_selected_action": ["lab"]}, follow=True
    ).content.decode()
    assert "CLAUDE_PROXY_ALLOWED_PRIVATE_HOSTS" in html
    assert lab.headers == {}
