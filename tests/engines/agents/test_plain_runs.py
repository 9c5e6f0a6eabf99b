"""Runs of agents without a jail: the bundled CLI, MCP servers over http and sse, and the stand-in."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from apiproxy.core.agents import AgentSpec, McpServerSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StepKind
from apiproxy.engines.base import Broken, Completed, Stopped
from tests.support.agent_lab import KEY, AgentLab, agent, agent_lab, finish
from tests.support.mcp_server import McpTestServer, mcp_server
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.long


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[AgentLab]:
    async with agent_lab(tmp_path / "agents") as running:
        yield running
        assert running.left_behind() == []


@pytest.fixture
async def server() -> AsyncIterator[McpTestServer]:
    async with mcp_server() as running:
        yield running


def spec(server: McpTestServer, transport: Literal["http", "sse"] = "http", **fields: Any) -> AgentSpec:
    url = server.url if transport == "http" else server.sse_url
    return agent(McpServerSpec(name="lab", transport=transport, url=url), **fields)


def broken(outcome: object) -> ProxyError:
    assert isinstance(outcome, Broken), outcome
    return outcome.error


async def test_answer_without_tools(lab: AgentLab) -> None:
    run = await lab.play(agent(), "[[say=good day]]", temperature=0.5, metadata={"user_id": "u"})

    assert run.text == "good day"
    assert isinstance(run.outcome, Completed)
    assert run.outcome.stop_reason == "end_turn"
    assert run.message["model"] == "bot"
    (call,) = lab.received()
    assert call.headers["x-api-key"] == KEY
    assert call.body["model"] == agent().model
    assert call.body["temperature"] == 0.5
    assert call.body["metadata"] == {"user_id": "u"}
    assert call.body["max_tokens"] == 1000
    assert call.body.get("tools", []) == []
    assert call.body["system"][1]["text"] == "You are a bot."


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_call_tools_of_mcp_server(
    lab: AgentLab, server: McpTestServer, transport: Literal["http", "sse"]
) -> None:
    run = await lab.play(
        spec(server, transport),
        '[[think=hm]][[say=I look]][[tool=mcp__lab__lookup:{"n":21}]][[tool=mcp__lab__pic:{}]]'
        '[[tool=mcp__lab__bad:{}]][[then]][[tool=mcp__lab__lookup:{"n":4}]][[then]][[say=done]]',
    )

    assert run.kinds == [
        *("thinking", "text", *["mcp_tool_use"] * 3, *["mcp_tool_result"] * 3),
        *("mcp_tool_use", "mcp_tool_result", "text"),
    ]
    assert [(block["server_name"], block["name"]) for block in run.blocks("mcp_tool_use")][:2] == [
        ("lab", "lookup"),
        ("lab", "pic"),
    ]
    results = {block["tool_use_id"]: block for block in run.blocks("mcp_tool_result")}
    number, picture, failed, _ = [results[block["id"]] for block in run.blocks("mcp_tool_use")]
    assert number["content"] == [{"type": "text", "text": '{"result":42}'}]
    assert picture["content"][0]["type"] == "image"
    assert failed["is_error"]
    assert [len(call.body["messages"]) for call in lab.received()] == [1, 3, 5]
    tool_steps = [step for step in run.steps if step.kind is StepKind.TOOL_CALL and step.ended_at is not None]
    assert [step.number for step in tool_steps] == [1, 1, 1, 2]
    assert len(run.message["usage"]["iterations"]) == 3


async def test_send_same_bodies_after_replay(lab: AgentLab, server: McpTestServer) -> None:
    """Else the upstream's prompt cache would be of no use for the next request."""
    given = spec(server)
    prompt = '[[think=hm]][[say=I look]][[tool=mcp__lab__lookup:{"n":21}]][[tool=mcp__lab__pic:{}]][[then]][[say=done]]'
    run = await lab.play(given, prompt)
    history = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": run.message["content"]},
        {"role": "user", "content": "[[say=again]]"},
    ]
    again = await lab.play(given, history)

    assert again.text == "again"
    *_, second, third = [call.body for call in lab.received()]
    assert plain(third["messages"][:3]) == plain(second["messages"])
    assert third["messages"][3]["content"] == [{"type": "text", "text": "done"}]
    assert [third[name] for name in ("system", "tools")] == [second[name] for name in ("system", "tools")]


def plain(messages: list[Any]) -> list[Any]:
    """Messages without cache marks and redundant flags, all contents as lists."""
    copied = json.loads(json.dumps(messages))
    for message in copied:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        for block in message["content"]:
            block.pop("cache_control", None)
            if block["type"] == "tool_result" and isinstance(block["content"], str):
                block["content"] = [{"type": "text", "text": block["content"]}]
    return list(copied)


async def test_pause_after_last_call_and_go_on(lab: AgentLab, server: McpTestServer) -> None:
    given = spec(server, max_calls=1)
    prompt = '[[tool=mcp__lab__lookup:{"n":21}]][[then]][[say=done]]'
    paused = await lab.play(given, prompt)
    assert isinstance(paused.outcome, Completed)
    assert paused.outcome.stop_reason == "pause_turn"
    assert paused.kinds == ["mcp_tool_use", "mcp_tool_result"]

    history = [{"role": "user", "content": prompt}, {"role": "assistant", "content": paused.message["content"]}]
    resumed = await lab.play(given, history)

    assert resumed.text == "done"
    last = lab.received()[-1].body["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "user"]
    assert last[2]["content"][0]["type"] == "tool_result"


async def test_make_parallel_calls_side_by_side(lab: AgentLab, server: McpTestServer) -> None:
    calls = "".join(f'[[tool=mcp__lab__slow:{{"seconds":0.{n}}}]]' for n in (6, 4, 5))
    run = await lab.play(spec(server), f"{calls}[[then]][[say=done]]")

    assert server.most_running == 3
    uses = [block["id"] for block in run.blocks("mcp_tool_use")]
    assert sorted(uses) == sorted(block["tool_use_id"] for block in run.blocks("mcp_tool_result"))


async def test_cut_off_huge_result_in_gateway(lab: AgentLab, server: McpTestServer) -> None:
    run = await lab.play(spec(server), '[[tool=mcp__lab__big:{"characters":400000}]][[then]][[say=done]]')

    (result,) = run.blocks("mcp_tool_result")
    shown = "".join(block["text"] for block in result["content"])
    assert "The gateway has cut it off after 100000." in shown
    assert not result["is_error"]
    assert {exchange.path for exchange in lab.recorder.exchanges} == {"/v1/messages"}


async def test_stop_at_max_tokens(lab: AgentLab, server: McpTestServer) -> None:
    run = await lab.play(spec(server), "[[say=half]][[stop=max_tokens]][[then]][[say=more]]")

    assert run.text == "half"
    assert isinstance(run.outcome, Completed)
    assert run.outcome.stop_reason == "max_tokens"
    assert len(lab.received()) == 1


async def test_pass_upstreams_error_of_second_call(lab: AgentLab, server: McpTestServer) -> None:
    run = await lab.play(
        spec(server), '[[tool=mcp__lab__lookup:{"n":1}]][[then]][[status=400]][[message=that is wrong]]'
    )

    error = broken(run.outcome)
    assert error.kind is FailureKind.UPSTREAM_ERROR
    assert error.upstream is not None
    assert (error.upstream.status, error.message) == (400, "that is wrong")


async def test_emit_structured_output(lab: AgentLab) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    prompt = '[[say=prose]][[tool=StructuredOutput:{"a":"x"}]][[then]][[tool=StructuredOutput:{"a":5}]]'
    run = await lab.play(agent(output_schema=schema), prompt)

    assert run.kinds == ["text"]
    assert json.loads(run.text) == {"a": 5}


async def test_fail_without_structured_output(lab: AgentLab) -> None:
    run = await lab.play(agent(output_schema={"type": "object"}), "[[say=prose]][[then]][[say=more prose]]")

    assert broken(run.outcome).kind is FailureKind.AGENT_OUTPUT


async def test_refuse_run_without_required_server(lab: AgentLab) -> None:
    async with mcp_server() as server:
        pass
    with pytest.raises(ProxyError, match="The MCP server lab is not available") as caught:
        await lab.play(spec(server), "[[say=hello]]")

    assert caught.value.kind is FailureKind.MCP_SERVER_DOWN
    assert lab.received() == []


async def test_go_on_without_optional_server(lab: AgentLab) -> None:
    async with mcp_server() as server:
        pass
    given = agent(McpServerSpec(name="lab", transport="http", url=server.url, required=False))
    run = await lab.play(given, "[[say=hello]]")

    assert run.text == "hello"


async def test_report_server_that_dies_during_run(lab: AgentLab) -> None:
    async with mcp_server() as server:
        answer, run = await lab.begin(
            spec(server), '[[first=1]][[tool=mcp__lab__lookup:{"n":1}]][[then]][[say=without it]]'
        )
    run = await finish(answer, run)

    (result,) = run.blocks("mcp_tool_result")
    assert result["is_error"]
    assert run.text == "without it"


async def test_end_run_when_time_is_up(lab: AgentLab, server: McpTestServer) -> None:
    started = time.monotonic()
    run = await lab.play(spec(server, max_duration_s=3), '[[tool=mcp__lab__slow:{"seconds":60}]][[then]][[say=done]]')

    assert isinstance(run.outcome, Completed)
    assert run.outcome.stop_reason == "pause_turn"
    (result,) = run.blocks("mcp_tool_result")
    assert result["is_error"]
    assert time.monotonic() - started < 15
    await eventually_async(lambda: server.running == 0)


async def test_end_everything_when_client_leaves(lab: AgentLab, server: McpTestServer) -> None:
    answer, run = await lab.begin(spec(server), '[[tool=mcp__lab__slow:{"seconds":60}]][[then]][[say=done]]')
    reading = asyncio.create_task(finish(answer, run))
    await eventually_async(lambda: server.running == 1, within_s=20)
    stopped_at = time.monotonic()
    answer.stop()
    run = await reading

    assert isinstance(run.outcome, Stopped)
    assert time.monotonic() - stopped_at < 3
    await eventually_async(lambda: (server.running, server.sessions) == (0, 0))
    assert run.outcome.usage.output_tokens > 0


async def test_report_death_of_process(lab: AgentLab, server: McpTestServer) -> None:
    answer, run = await lab.begin(spec(server), '[[tool=mcp__lab__slow:{"seconds":60}]][[then]][[say=done]]')
    reading = asyncio.create_task(finish(answer, run))
    await eventually_async(lambda: server.running == 1, within_s=20)
    (worker,) = lab.engine.snapshot()
    assert worker.run_id is not None
    next(iter(lab.engine._pool.workers)).kill()
    run = await reading

    assert broken(run.outcome).kind is FailureKind.WORKER_DIED
    await eventually_async(lambda: server.running == 0)


async def test_reject_invalid_history(lab: AgentLab) -> None:
    with pytest.raises(ProxyError) as caught:
        await lab.play(agent(), [{"role": "system", "content": "x"}])

    assert caught.value.kind is FailureKind.INVALID_REQUEST
    await eventually_async(lambda: lab.left_behind() == [])


async def test_keep_workers_ready(lab: AgentLab) -> None:
    given = agent(min_idle=1)
    assert (await lab.play(given, "[[say=a]]")).text == "a"
    await eventually_async(lambda: [it.state for it in lab.engine.snapshot()] == ["idle"], within_s=20)
    (idle,) = lab.engine.snapshot()
    run = await lab.play(given, "[[say=b]]")
    assert run.text == "b"
    await eventually_async(lambda: [it.state for it in lab.engine.snapshot()] == ["idle"], within_s=20)
    assert lab.engine.snapshot()[0].id != idle.id

    changed = replace(given, system="You are another bot.", min_idle=0)
    await lab.play(changed, "[[say=c]]")
    await eventually_async(lambda: lab.engine.snapshot() == [])
    assert lab.received()[-1].body["system"][1]["text"] == "You are another bot."


async def test_start_workers_for_kept_agents_only(lab: AgentLab) -> None:
    lab.engine.keep([agent(min_idle=1), agent(slug="other")])
    await eventually_async(lambda: [it.model for it in lab.engine.snapshot()] == ["bot@3"], within_s=20)
    lab.engine.keep([])
    await eventually_async(lambda: lab.engine.snapshot() == [], within_s=20)


async def test_refuse_jailed_agent_without_jail(tmp_path: Path) -> None:
    async with agent_lab(tmp_path / "agents", jail_problem="no user namespaces") as lab:
        with pytest.raises(ProxyError, match="no user namespaces") as caught:
            await lab.play(agent(tools=("Bash",)), "hello")
        assert caught.value.kind is FailureKind.JAIL_UNAVAILABLE
