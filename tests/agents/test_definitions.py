"""Agents, their versions and MCP servers in the database."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from apiproxy.core.encryption import MASK, UnreadableError
from apiproxy.models import Agent, AgentVersion, McpServer, Model
from tests.support.stored_agents import MODEL, make_agent, make_server

pytestmark = pytest.mark.django_db

SECRET = "Bearer tok-0123456789"


def numbers(slug: str = "support-bot") -> list[int]:
    return list(AgentVersion.objects.filter(slug=slug).order_by("number").values_list("number", flat=True))


def test_number_versions_from_one_and_only_changes() -> None:
    assert make_agent(budget_usd=Decimal("0.5")).version == 1
    assert make_agent().version == 1
    assert make_agent(enabled=False).version == 1
    assert make_agent(system="Be brief.").version == 2
    assert make_agent(system="").version == 3
    assert numbers() == [1, 2, 3]
    assert AgentVersion.objects.get(slug="support-bot", number=2).system == "Be brief."


def test_record_who_made_version() -> None:
    agent = Agent(slug="a", display_name="A", model=MODEL)
    agent.changed_by = "rita"
    agent.save()
    assert AgentVersion.objects.get(slug="a").created_by == "rita"


def test_refuse_to_change_or_delete_version() -> None:
    make_agent()
    version = AgentVersion.objects.get(slug="support-bot")
    version.system = "Other"
    with pytest.raises(TypeError):
        version.save()
    with pytest.raises(TypeError):
        version.delete()


def test_continue_numbers_of_deleted_agent() -> None:
    make_agent(system="one").delete()
    assert numbers() == [1]
    assert make_agent(system="two").version == 2


@pytest.mark.parametrize("slug", ["", "A", "-a", ".a", "a b", "a@1", "a/b", "ä", "none", "a" * 65, "a\n"])
def test_reject_slug(slug: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Agent(slug=slug, display_name="A", model=MODEL).full_clean()
    assert "slug" in caught.value.message_dict


@pytest.mark.parametrize("slug", ["a", "support-bot", "0.a_b-c", "a" * 64])
def test_accept_slug(slug: str) -> None:
    Agent(slug=slug, display_name="A", model=MODEL).full_clean()


def test_refuse_name_of_model_and_of_agent(settings: Settings) -> None:
    settings.GATEWAY = replace(settings.GATEWAY, model_aliases={"fast": "haiku"})
    Model.objects.create(pk="claude-v@20250101", display_name="V", max_output_tokens=1)
    for slug in ("opus", "claude-opus-5-5", "fast", "claude-v"):
        with pytest.raises(ValidationError, match="name of a model"):
            Agent(slug=slug, display_name="A", model=MODEL).full_clean()
    make_agent()
    for fields in ({"pk": "support-bot"}, {"pk": "support-bot@2"}, {"pk": "x", "aliases": ["support-bot"]}):
        with pytest.raises(ValidationError, match="name of an agent"):
            Model(display_name="M", max_output_tokens=1, **fields).full_clean()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("model", "claude-none"), ("tools", ["Bash", "Web"]), ("tools", ["Bash", "Bash"]), ("mcp_servers", ["none"])],
        *[("max_calls", 0), ("max_calls", 1001), ("budget_usd", Decimal(0)), ("max_duration_s", 0), ("min_idle", 11)],
        *[
            ("effort", "huge"),
            ("show_tool_calls", "some"),
            ("system", "x" * 200_001),
            ("output_schema", {"type": "array"}),
        ],
        *[
            ("output_schema", {"type": "object", "properties": []}),
            ("output_schema", {"type": "object", "a": "x" * 70_000}),
        ],
        *[("thinking", {"type": "enabled"}), ("thinking", {"type": "enabled", "budget_tokens": 10})],
        *[("thinking", {"type": "adaptive", "x": 1}), ("thinking", {"type": "enabled", "budget_tokens": True})],
    ],
)
def test_reject_definition(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        make_agent(**{field: value})
    assert list(caught.value.message_dict) == [field]


def test_reject_deeply_nested_schema() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(40):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(ValidationError):
        make_agent(output_schema=schema)


@pytest.mark.parametrize("name", ["", "a b", "a__b", "_a", "a_", "a.b", "agent", "Client", "ä", "a" * 65])
def test_reject_name_of_server(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_server(name)
    assert "name" in caught.value.message_dict


def test_store_secrets_encrypted_only() -> None:
    server = make_server(token=SECRET)
    row = McpServer.objects.filter(pk="search").values().get()
    assert SECRET not in str(row)
    assert SECRET not in repr(server.spec())
    assert server.spec().headers == {"authorization": SECRET}
    assert dict(server.read_secrets().masked().headers) == {"authorization": MASK}


def test_keep_stored_secret_behind_mask() -> None:
    server = make_server(token=SECRET)
    token = server.secrets
    server.set_secrets(headers={"Authorization": MASK}, env={})
    assert server.secrets == token
    server.set_secrets(headers={"authorization": MASK, "x-team": "a"}, env={})
    assert server.spec().headers == {"authorization": SECRET, "x-team": "a"}
    with pytest.raises(ValidationError, match="enter the value"):
        server.set_secrets(headers={"x-other": MASK}, env={})
    with pytest.raises(ValidationError, match="enter the value"):  # else it would go to another host
        server.set_secrets(headers={"authorization": MASK}, env={}, moved=True)
    server.set_secrets(headers={}, env={})
    assert server.secrets == ""


def test_read_secrets_after_rotation_of_secret_key(settings: Settings) -> None:
    server = make_server(token=SECRET)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert server.spec().headers == {"authorization": SECRET}
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(UnreadableError) as caught:
        server.spec()
    assert server.secrets not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        *[{"a b": "x"}, {"host": "x"}, {"Content-Length": "1"}, {"mcp-session-id": "x"}, {"proxy-authorization": "x"}],
        *[{"x": "a\r\nb: c"}, {"x": "ä"}, {"x": ""}, {"x": "a", "X": "b"}, {"x": "a" * 40_000}, {"x": " a"}],
        {f"x-{number}": "a" for number in range(33)},
    ],
)
def test_reject_headers_without_quoting_values(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        make_server().set_secrets(headers=headers, env={})
    assert list(caught.value.message_dict) == ["headers"]
    assert "a\r" not in str(caught.value)


def test_send_headers_over_https_or_to_private_hosts_only(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="https"):
        make_server(url="http://mcp.example.org/", token=SECRET)
    settings.GATEWAY = replace(
        settings.GATEWAY, allowed=replace(settings.GATEWAY.allowed, private_hosts=("127.0.0.1:81",))
    )
    make_server(url="http://127.0.0.1:81/mcp", token=SECRET)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        *[({"url": ""}, "url"), ({"url": "ftp://a.example"}, "url"), ({"url": "https://u:p@a.example"}, "url")],
        *[({"url": "http://127.0.0.1/"}, "url"), ({"url": "http://[::ffff:10.0.0.1]/"}, "url")],
        *[({"url": "http://169.254.169.254/"}, "url"), ({"command": "x"}, "command"), ({"args": ["x"]}, "args")],
        *[({"transport": "stdio", "url": ""}, "command"), ({"transport": "stdio", "command": "x"}, "url")],
        *[({"transport": "stdio", "url": "", "command": "a\nb"}, "command"), ({"transport": "other"}, "transport")],
        *[
            ({"transport": "stdio", "url": "", "command": "x", "args": ["a\0"]}, "args"),
            ({"allowed_tools": "a"}, "allowed_tools"),
        ],
    ],
)
def test_reject_server(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_server(**fields)
    assert field in caught.value.message_dict


def test_describe_stdio_server() -> None:
    server = make_server("files", transport="stdio", url="", command="python3", args=["-m", "files"])
    server.set_secrets(headers={}, env={"FILES_TOKEN": "s3cret"})
    spec = server.spec()
    assert (spec.command, spec.args, spec.env) == ("python3", ("-m", "files"), {"FILES_TOKEN": "s3cret"})
    with pytest.raises(ValidationError, match="stdio server has none"):
        server.set_secrets(headers={"a": "b"}, env={})
    for env in ({"A B": "x"}, {"1A": "x"}, {"A": "x\0"}):
        with pytest.raises(ValidationError):
            server.set_secrets(headers={}, env=env)
