"""Agents in the catalog: `slug`, `slug@N`, and why one cannot run."""

from dataclasses import replace

import pytest
from asgiref.sync import async_to_sync
from pytest_django import DjangoAssertNumQueries, Settings

from apiproxy.catalog import Catalog, ResolvedModel, stored_engines
from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Usage
from apiproxy.db.guarded_query import QueryGuard
from apiproxy.models import AgentVersion, McpServer, Model
from tests.support.clock import Clock
from tests.support.stored_agents import MODEL, make_agent, make_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalog(clock: Clock) -> Catalog:
    return Catalog(QueryGuard(monotonic=clock), monotonic=clock)


def resolve(catalog: Catalog, name: str) -> ResolvedModel:
    return async_to_sync(catalog.resolve)(name)


def test_resolve_agent_with_limits_and_prices_of_its_model(catalog: Catalog) -> None:
    make_server(token="Bearer secret-1")
    make_agent(mcp_servers=["search"], tools=["Bash"], system="Be brief.")
    found, inner = resolve(catalog, "support-bot"), resolve(catalog, MODEL)
    assert (found.id, found.engine, found.names) == ("support-bot", "agents", frozenset({"support-bot"}))
    assert (found.max_output_tokens, found.prices) == (inner.max_output_tokens, inner.prices)
    assert found.agent is not None
    assert (found.agent.name, found.agent.model, found.agent.tools) == ("support-bot@1", MODEL, ("Bash",))
    assert found.agent.mcp_servers[0].headers == {"authorization": "Bearer secret-1"}
    assert "secret-1" not in repr(found)
    assert found.inner_id == MODEL
    assert catalog.priced("support-bot", Usage(output_tokens=10)).cost_usd == pytest.approx(
        catalog.priced(MODEL, Usage(output_tokens=10)).cost_usd
    )


def test_resolve_pinned_versions(catalog: Catalog, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    make_agent(system="one")
    make_agent(system="two", model="claude-opus-5-5")
    newest, first = resolve(catalog, "support-bot@2"), resolve(catalog, "support-bot@1")
    assert newest.agent is not None
    assert first.agent is not None
    assert (newest.id, newest.agent.system, newest.names) == (
        "support-bot@2",
        "two",
        frozenset({"support-bot", "support-bot@2"}),
    )
    assert (first.agent.name, first.agent.system, first.agent.model) == ("support-bot@1", "one", MODEL)
    assert first.prices == resolve(catalog, MODEL).prices
    with django_assert_num_queries(0):
        assert resolve(catalog, "support-bot@1").agent == first.agent
        assert catalog.known("support-bot@1") is not None


@pytest.mark.parametrize("name", ["@3", "@0", "@01", "@-1", "@", "@x", "@2@1", "@99999999999999999999"])
def test_disable_version_that_does_not_exist(
    catalog: Catalog, name: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_agent()
    resolve(catalog, "support-bot")
    with django_assert_num_queries(0):
        found = resolve(catalog, f"support-bot{name}")
    assert (found.engine, found.enabled, found.agent) == ("agents", False, None)
    assert "support-bot" in found.names


def test_take_unknown_slug_for_model(catalog: Catalog) -> None:
    make_agent().delete()
    assert resolve(catalog, "support-bot@1").engine == "sdk"
    assert resolve(catalog, "support-bot").engine == "sdk"


def test_resolve_operators_alias_of_agent(catalog: Catalog, settings: Settings) -> None:
    settings.GATEWAY = replace(settings.GATEWAY, model_aliases={"help": "support-bot", "stable": "support-bot@1"})
    make_agent(system="one")
    make_agent(system="two")
    assert resolve(catalog, "help").names == {"help", "support-bot"}
    stable = resolve(catalog, "stable")
    assert (stable.id, stable.names) == (
        "support-bot@1",
        frozenset({"help", "stable", "support-bot", "support-bot@1"}),
    )


def test_see_changes_of_agents_and_servers_at_once(catalog: Catalog) -> None:
    server = make_server()
    agent = make_agent(mcp_servers=["search"])
    assert resolve(catalog, "support-bot").enabled
    agent.enabled = False
    agent.save()
    assert not resolve(catalog, "support-bot").enabled
    server.allowed_tools = ["find"]
    server.save()
    found = resolve(catalog, "support-bot").agent
    assert found is not None
    assert found.mcp_servers[0].allowed_tools == ("find",)


def test_name_reason_of_agent_that_cannot_run(catalog: Catalog, settings: Settings) -> None:
    make_server(token="Bearer x")
    make_agent(mcp_servers=["search"])

    def unavailable() -> tuple[FailureKind, str] | None:
        catalog.forget()
        found = resolve(catalog, "support-bot").unavailable
        return None if found is None else (found.kind, found.reason)

    assert unavailable() is None
    McpServer.objects.update(enabled=False)
    assert unavailable() == (FailureKind.MCP_SERVER_DOWN, "The MCP server search is disabled.")
    McpServer.objects.update(required=False)
    assert unavailable() is None
    McpServer.objects.update(enabled=True, required=True)
    settings.SECRET_KEY = "another"
    found = unavailable()
    assert found is not None
    assert "secrets that cannot be read" in found[1]
    McpServer.objects.all().delete()
    assert unavailable() == (FailureKind.MCP_SERVER_DOWN, "The MCP server search does not exist.")
    make_agent(mcp_servers=[])
    Model.objects.filter(pk=MODEL).update(enabled=False)
    assert unavailable() == (FailureKind.NOT_FOUND, f"The model {MODEL} is disabled.")
    Model.objects.filter(pk=MODEL).delete()
    assert unavailable() == (FailureKind.NOT_FOUND, f"The model {MODEL} does not exist.")


def test_bound_memory_of_old_versions(catalog: Catalog) -> None:
    for number in range(70):
        make_agent(system=str(number))
    for number in range(1, 70):
        found = resolve(catalog, f"support-bot@{number}").agent
        assert found is not None
        assert found.system == str(number - 1)
    assert len(catalog._old_versions) <= 64
    assert AgentVersion.objects.count() == 70


def test_name_engine_of_agents(catalog: Catalog) -> None:
    agent = make_agent()
    assert async_to_sync(catalog.engines)() == stored_engines() == {"sdk", "agents"}
    agent.enabled = False
    agent.save()
    assert async_to_sync(catalog.engines)() == stored_engines() == {"sdk"}
