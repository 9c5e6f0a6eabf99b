"""Runs of agents in a jail: built-in tools, MCP servers over stdio, and limits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from apiproxy.core.agents import McpServerSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StepKind
from apiproxy.engines.agents.folder import agent_folders
from apiproxy.engines.agents.jail import JailLimits
from apiproxy.engines.base import Broken, Completed, Stopped
from tests.support import stdio_mcp
from tests.support.agent_lab import AgentLab, AgentRun, agent, agent_lab, finish
from tests.support.mcp_server import mcp_server
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.long

STDIO = McpServerSpec(
    name="local",
    transport="stdio",
    command="/usr/bin/python3",
    args=("-c", Path(stdio_mcp.__file__).read_text()),
    env={"SECRET": "s3cret"},
)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[AgentLab]:
    async with agent_lab(agent_folders(tmp_path)) as running:
        yield running
        assert running.left_behind() == []


def results(run: AgentRun) -> list[str]:
    """Texts of the results, in the order of the calls."""
    texts = {
        block["tool_use_id"]: "".join(part["text"] for part in block["content"] if part["type"] == "text")
        for block in run.blocks("mcp_tool_result")
    }
    return [texts[block["id"]] for block in run.blocks("mcp_tool_use")]


async def test_run_built_in_tools(lab: AgentLab) -> None:
    run = await lab.play(
        agent(tools=("Bash", "Read")),
        '[[tool=Bash:{"command":"echo hello > note; pwd"}]][[then]][[tool=Read:{"file_path":"/workspace/note"}]]'
        '[[tool=Read:{"file_path":"/etc/passwd"}]][[then]][[say=done]]',
    )

    assert [(it["server_name"], it["name"]) for it in run.blocks("mcp_tool_use")] == [
        ("agent", "Bash"),
        ("agent", "Read"),
        ("agent", "Read"),
    ]
    first, second, third = results(run)
    assert first == "/workspace"
    assert "hello" in second
    assert "outside" in third
    assert run.text == "done"
    reads = [step for step in run.steps if step.name == "agent/Read" and step.ended_at]
    assert {(step.kind, step.failed) for step in reads} == {(StepKind.TOOL_CALL, False), (StepKind.DENIED, True)}
    assert {tool["name"] for tool in lab.received()[0].body["tools"]} == {"Bash", "Read"}


async def test_run_servers_of_all_kinds(lab: AgentLab) -> None:
    async with mcp_server() as server:
        given = agent(
            STDIO,
            McpServerSpec(name="web", transport="http", url=server.url),
            McpServerSpec(name="events", transport="sse", url=server.sse_url),
            tools=("Bash", "Read"),
        )
        run = await lab.play(
            given,
            "[[tool=mcp__local__secret:{}]][[tool=mcp__local__environment:{}]]"
            '[[tool=mcp__web__lookup:{"n":1}]][[tool=mcp__events__lookup:{"n":2}]][[tool=Bash:{"command":"id -u"}]]'
            '[[then]][[tool=Bash:{"command":"env"}]][[then]][[say=done]]',
        )

    secret, names, web, events, uid, environment = results(run)
    assert secret == "s3cret"
    assert not [name for name in json.loads(names) if "ANTHROPIC" in name]
    assert (web, events, uid) == ('{"result":2}', '{"result":4}', "1000")
    assert "s3cret" not in environment
    assert len(lab.received()) == 3


async def test_list_tools_first(lab: AgentLab) -> None:
    async with mcp_server() as server:
        web = McpServerSpec(name="web", transport="http", url=server.url, allowed_tools=("look*",))
        given, run = agent(STDIO, web, tools=("Bash",)), AgentRun()
        request = replace(lab.request(given, "[[then]][[say=hello]]", run), lists_tools=True)
        await finish(await lab.engine.begin(request), run)

    listings = run.message["content"][:3]
    assert run.kinds == ["mcp_tool_listing"] * 3 + ["text"]
    assert {it["mcp_server_name"]: [tool["name"] for tool in it["tools"]] for it in listings} == {
        "agent": ["Bash"],
        "local": ["die", "environment", "secret"],
        "web": ["lookup"],
    }
    assert listings[2]["tools"][0]["description"] == "Looks a number up."


async def test_use_tools_of_full_mode(lab: AgentLab) -> None:
    run = await lab.play(
        agent(tools=("Write", "Glob", "Grep", "Bash")),
        '[[tool=Write:{"file_path":"/workspace/a.txt","content":"needle"}]][[then]]'
        '[[tool=Grep:{"pattern":"needle"}]][[tool=Glob:{"pattern":"*.txt"}]][[then]][[say=done]]',
    )

    assert run.text == "done"
    _, grep, glob = results(run)
    assert "a.txt" in grep
    assert "a.txt" in glob


async def test_use_allowed_tools_of_stdio_server_only(lab: AgentLab) -> None:
    given = agent(replace(STDIO, allowed_tools=("env*",)))
    run = await lab.play(given, "[[tool=mcp__local__secret:{}]][[tool=mcp__local__environment:{}]][[then]][[say=done]]")

    secret, environment = run.blocks("mcp_tool_result")
    assert {secret["is_error"], environment["is_error"]} == {True, False}
    assert "s3cret" not in json.dumps(run.message)


async def test_refuse_run_without_required_stdio_server(lab: AgentLab) -> None:
    given = agent(McpServerSpec(name="local", transport="stdio", command="/usr/bin/false"))
    with pytest.raises(ProxyError, match="The MCP server local is not available") as caught:
        await lab.play(given, "[[say=hello]]")

    assert caught.value.kind is FailureKind.MCP_SERVER_DOWN
    await eventually_async(lambda: lab.left_behind() == [])


async def test_go_on_after_death_of_stdio_server(lab: AgentLab) -> None:
    run = await lab.play(
        agent(STDIO), "[[tool=mcp__local__die:{}]][[then]][[tool=mcp__local__secret:{}]][[then]][[say=done]]"
    )

    died, _ = run.blocks("mcp_tool_result")
    assert died["is_error"]
    assert run.text == "done"


async def test_end_all_processes_when_client_leaves(lab: AgentLab) -> None:
    command = "setsid sh -c 'sleep 981 & sleep 982' & sleep 983"
    answer, run = await lab.begin(agent(tools=("Bash",)), f'[[tool=Bash:{{"command":"{command}"}}]]')
    reading = asyncio.create_task(finish(answer, run))
    await eventually_async(lambda: sum("sleep" in it for it in lab.left_behind()) == 3, within_s=20)
    stopped_at = time.monotonic()
    answer.stop()
    run = await reading

    assert isinstance(run.outcome, Stopped)
    assert time.monotonic() - stopped_at < 3
    assert lab.left_behind() == []


async def test_end_tool_when_time_is_up(lab: AgentLab) -> None:
    run = await lab.play(agent(tools=("Bash",), max_duration_s=3), '[[tool=Bash:{"command":"sleep 984"}]]')

    assert isinstance(run.outcome, Completed)
    assert run.outcome.stop_reason == "pause_turn"


async def test_end_run_over_its_memory(tmp_path: Path) -> None:
    async with agent_lab(agent_folders(tmp_path), limits=JailLimits(memory_mb=500)) as lab:
        hungry = "python3 -c 'x = bytearray(900_000_000); import time; time.sleep(60)'"
        run = await lab.play(agent(tools=("Bash",)), f'[[tool=Bash:{{"command":"{hungry}"}}]]')
        assert isinstance(run.outcome, Broken)
        assert "too much memory" in run.outcome.error.message
        assert lab.left_behind() == []


async def test_share_nothing_between_runs(lab: AgentLab) -> None:
    given = agent(tools=("Bash",))
    await lab.play(
        given, '[[tool=Bash:{"command":"echo secret > /workspace/a; echo secret > ~/b; echo secret > /tmp/c"}]]'
    )
    run = await lab.play(given, '[[tool=Bash:{"command":"cat /workspace/* ~/b /tmp/c; ls -A /workspace"}]]')

    assert "secret" not in json.dumps(run.message["content"][1:])
