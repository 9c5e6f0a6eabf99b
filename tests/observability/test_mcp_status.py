"""Status of MCP servers: bounded, the newest of several processes, without credentials."""

import json
import re
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from apiproxy.core.mcp_status import MAX_SERVERS, MAX_TOOLS, McpStatuses
from observability.agent_payloads import mcp_row, newest_by_server
from observability.service import Config, Service
from observability.tracing.redact import Redactor
from tests.observability.builders import Gateway, serve
from tests.observability.dashboards import make_user


def test_remember_last_failure_after_success() -> None:
    statuses = McpStatuses()
    statuses.failed("search", transport="http", error="timed out")
    statuses.connected("search", transport="http", tools=("find", "read"))
    (found,) = statuses.snapshot()
    assert (found.error, found.last_error, found.tools) == ("", "timed out", ("find", "read"))
    statuses.failed("search", transport="http", error="refused")
    (found,) = statuses.snapshot()
    assert (found.error, found.last_error, found.tools) == ("refused", "refused", ("find", "read"))


def test_bound_servers_tools_and_texts() -> None:
    statuses = McpStatuses()
    for number in range(MAX_SERVERS + 5):
        statuses.connected(f"s{number:04}", transport="sse", tools=("\ud800" * 900,) * (MAX_TOOLS + 5))
    statuses.failed("s0009", transport="sse", error="e" * 9_000)
    found = {status.name: status for status in statuses.snapshot()}
    assert len(found) == MAX_SERVERS
    assert "s0004" not in found
    assert len(found["s0009"].error) == 300
    assert (len(found["s0100"].tools), len(found["s0100"].tools[0])) == (MAX_TOOLS, 200)
    json.dumps([status.tools for status in found.values()], ensure_ascii=False).encode()


def test_show_newest_result_of_several_processes() -> None:
    one, other = McpStatuses(), McpStatuses()
    one.failed("search", transport="http", error="refused")
    other.connected("search", transport="http", tools=("find",))
    rows = [mcp_row(it.snapshot()[0], Redactor(), process=name) for name, it in (("a", one), ("b", other))]
    rows[0]["at"], rows[1]["at"] = 1.0, 2.0
    assert [(row["process"], row["error"]) for row in newest_by_server(rows)] == [("b", "")]


@pytest.mark.django_db
def test_put_servers_on_workers_page_without_credentials(client: Client, tmp_path: Path, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    gateway = Gateway()
    gateway.runtime.engines.mcp_statuses.failed(
        "search", transport="http", error="401 for Authorization: Bearer sk-ant-very-secret-0123456789"
    )
    serve(Service(gateway, Config(log_dir=tmp_path, retention_days=30)))
    client.force_login(make_user(permissions=("view_trace",)))
    text = client.get("/dashboard/workers").content.decode()
    found = re.search(r'id="snapshot" type="application/json">(.*?)</script>', text)
    assert found is not None
    (row,) = json.loads(found[1])["mcp"]
    assert (row["name"], row["transport"]) == ("search", "http")
    assert "very-secret" not in text
