"""`manage.py agents`: YAML files of agents and MCP servers."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from apiproxy.core.encryption import MASK
from apiproxy.management.agents.yaml_text import MAX_FILE_BYTES, YamlError, load
from apiproxy.models import Agent, AgentVersion, McpServer
from tests.support.stored_agents import make_agent, make_server

pytestmark = pytest.mark.django_db

SECRET = "Bearer tok-0123456789"
FILE = f"""
mcp_servers:
  - name: search
    transport: http
    url: https://mcp.example.org/mcp
    headers: {{Authorization: "{SECRET}"}}
    required: true
    allowed_tools: ["*"]
  - name: files
    transport: stdio
    command: python3
    args: [-m, files]
    env: {{FILES_TOKEN: s3cret-value}}
agents:
  - slug: support-bot
    display_name: Support
    description: Answers from the handbook
    model: haiku
    system: |
      You answer from the handbook.
      Be brief.
    tools: [Bash, Read]
    mcp_servers: [search, files]
    max_calls: 12
    budget_usd: 0.5
    max_duration_s: 300
    show_tool_calls: names
    effort: low
    thinking: {{type: enabled, budget_tokens: 2048}}
    output_schema: {{type: object, properties: {{answer: {{type: string}}}}}}
    allow_client_system: true
    min_idle: 1
    enabled: true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def imported(folder: Path, text: str | bytes, *options: str) -> list[str]:
    path = folder / "agents.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    out = io.StringIO()
    call_command("agents", "import", str(path), *options, stdout=out)
    return out.getvalue().splitlines()


def exported() -> str:
    out = io.StringIO()
    call_command("agents", "export", stdout=out)
    return out.getvalue()


def problems(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(CommandError) as caught:
        imported(folder, text)
    assert not Agent.objects.exists()
    assert not McpServer.objects.exists()
    return str(caught.value).splitlines()


def test_print_line_for_each_change(folder: Path) -> None:
    assert imported(folder, FILE) == [
        "mcp_server search created",
        "mcp_server files created",
        "agent support-bot created, version 1",
    ]
    assert imported(folder, FILE) == ["Nothing to change."]
    changed = FILE.replace("max_calls: 12", "max_calls: 9").replace(SECRET, "Bearer other")
    assert imported(folder, changed) == [
        "mcp_server search changed: secrets",
        "agent support-bot changed, version 2: max_calls",
    ]
    assert imported(folder, changed.replace("enabled: true", "enabled: false")) == [
        "agent support-bot changed: enabled"
    ]
    agent = Agent.objects.get()
    assert (agent.model, agent.version, agent.enabled) == ("claude-haiku-5-5", 2, False)
    assert AgentVersion.objects.get(number=1).created_by == "agents import"
    assert McpServer.objects.get(pk="files").spec().env == {"FILES_TOKEN": "s3cret-value"}


def test_import_own_export_without_change(folder: Path) -> None:
    imported(folder, FILE)
    text = exported()
    assert SECRET not in text
    assert "s3cret-value" not in text
    assert text.count(MASK) == 2
    assert "system: |" in text
    assert imported(folder, text) == ["Nothing to change."]
    assert McpServer.objects.get(pk="search").spec().headers == {"authorization": SECRET}


def test_write_export_to_file_and_read_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_agent()
    call_command("agents", "export", str(folder / "out.yaml"))
    text = (folder / "out.yaml").read_text()
    assert load(text.encode())["agents"][0]["slug"] == "support-bot"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    out = io.StringIO()
    call_command("agents", "import", "-", stdout=out)
    assert out.getvalue() == "Nothing to change.\n"


def test_change_nothing_on_dry_run(folder: Path) -> None:
    assert len(imported(folder, FILE, "--dry-run")) == 4
    assert not Agent.objects.exists()
    assert not AgentVersion.objects.exists()


def test_set_omitted_fields_to_defaults_and_leave_other_objects(folder: Path) -> None:
    make_agent("other-bot")
    imported(folder, FILE)
    short = "agents: [{slug: support-bot, model: haiku}]"
    (line,) = imported(folder, short)
    assert line.startswith("agent support-bot changed, version 2: ")
    agent = Agent.objects.get(pk="support-bot")
    assert (agent.display_name, agent.tools, agent.budget_usd) == ("support-bot", [], None)
    assert Agent.objects.filter(pk="other-bot").exists()
    assert McpServer.objects.filter(pk="search").exists()


def test_report_every_problem_with_its_path(folder: Path) -> None:
    text = """
mcp_servers:
  - {name: "a b", url: "https://mcp.example.org/"}
  - {name: local, url: "http://127.0.0.1/"}
  - {name: masked, url: "https://mcp.example.org/", headers: {authorization: "********"}}
agents:
  - {slug: good, model: opus}
  - {slug: Bad, model: opus, tools: [Web]}
  - {slug: lost, model: claude-none, mcp_servers: [nothing]}
  - {slug: good, model: opus}
"""
    found = problems(folder, text)
    starts = [
        *[
            "Nothing was changed.",
            "agents.3: 'good' is in the file twice",
            "mcp_servers.0.name: ",
            "mcp_servers.1.url: ",
        ],
        *["mcp_servers.2.headers: authorization: enter the value", "agents.1.slug: ", "agents.1.tools: "],
        *["agents.2.model: ", "agents.2.mcp_servers: "],
    ]
    for start in starts:
        assert any(line.startswith(start) for line in found), (start, found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("agents: [{slug: a, model: opus, max_turns: 3}]", "agents.0.max_turns: unknown field"),
        ("mcp_servers: [{name: a, token: x}]", "mcp_servers.0.token: unknown field"),
        ("agent: []", "agent: unknown field"),
        ("agents: [{model: opus}]", "agents.0.slug: Field required"),
        ("agents: [{slug: a, model: opus, max_calls: '3'}]", "agents.0.max_calls: Input should be a valid integer"),
        ("agents: [{slug: a, model: opus, budget_usd: lots}]", "agents.0.budget_usd: "),
        ("agents: [{slug: a, model: opus, budget_usd: .inf}]", "agents.0.budget_usd: "),
        ("agents: [{slug: a, model: opus, enabled: 1}]", "agents.0.enabled: Input should be a valid boolean"),
        ("agents: {slug: a}", "agents: Input should be a valid list"),
        ("mcp_servers: [{name: a, headers: {x: {y: tok-1}}}]", "mcp_servers.0.headers.x: "),
        ("[1]", "Input should be"),
    ],
)
def test_reject_unknown_fields_and_types(folder: Path, text: str, problem: str) -> None:
    found = problems(folder, text)
    assert any(line.startswith(problem) for line in found), found
    assert "tok-1" not in str(found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1, *x]", "levels"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]", "more than"),
        ("a: {<<: {b: 1}}", "not supported"), ("a: 1\na: 2", "twice"), ("a: !!python/object:os.system x", "Line 1"),
        ("? [1]\n: 2", "plain strings"), ("a: [1", "Line"), ("a: \x00", "not valid"), ('a: "\\0"', "must not contain"),
        ('a: "\\ud800"', "must not contain"), ("[" * 3_000, "levels|Line"), ("a: 1\n---\nb: 2", "Line"),
        ("a: 2026-99-99", "not valid"),
        (b"\xff\xfe\xff", "UTF-8"), (b"a" * (MAX_FILE_BYTES + 1), "KB"),
    ],
)  # fmt: skip
def test_bound_yaml(text: str | bytes, problem: str) -> None:
    with pytest.raises(YamlError, match=problem):
        load(text if isinstance(text, bytes) else text.encode())


def test_expand_anchors(folder: Path) -> None:
    text = "agents:\n- {slug: a, model: opus, tools: &t [Bash]}\n- {slug: b, model: opus, tools: *t}"
    assert len(imported(folder, text)) == 2
    assert Agent.objects.get(pk="b").tools == ["Bash"]


def test_ask_for_secret_again_if_its_host_changes(folder: Path) -> None:
    imported(folder, FILE)
    text = exported().replace("https://mcp.example.org", "https://evil.example")
    with pytest.raises(CommandError, match=r"mcp_servers\.\d\.headers: authorization: enter the value"):
        imported(folder, text)
    assert McpServer.objects.get(pk="search").spec().headers == {"authorization": SECRET}
    files = exported().replace("- files", "- other")
    with pytest.raises(CommandError, match=r"mcp_servers\.\d\.env: FILES_TOKEN: enter the value"):
        imported(folder, files)
    assert imported(folder, exported().replace("/mcp\n", "/v2\n")) == ["mcp_server search changed: url"]


def test_reencrypt_with_new_secret_key(settings: Settings) -> None:
    server = make_server(token=SECRET)
    old, old_key = server.secrets, settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [old_key]
    call_command("agents", "reencrypt", stdout=io.StringIO())
    settings.SECRET_KEY_FALLBACKS = []
    server.refresh_from_db()
    assert server.secrets != old
    assert server.spec().headers == {"authorization": SECRET}
    settings.SECRET_KEY = "a third"
    with pytest.raises(CommandError, match="search"):
        call_command("agents", "reencrypt", stdout=io.StringIO())
    err: Any = io.StringIO()
    call_command("agents", "export", stdout=io.StringIO(), stderr=err)
    assert "left out" in err.getvalue()
