"""Launch of agents' workers: the real CLI, jailed and not, behind its relay."""

import asyncio
from pathlib import Path

import pytest

from apiproxy.core.agents import McpServerSpec
from tests.support.agent_cli import KEY, agent_run, descendants, end, is_running
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.asyncio, pytest.mark.long]


async def test_run_tools_in_the_jail(stand_in: StandInProcess, tmp_path: Path) -> None:
    prompt = '[[say=I look]] [[tool=Bash:{"command":"pwd; id -un; ls -A /"}]] [[then]] [[say=done]]'
    mark = stand_in.mark()
    async with agent_run(stand_in.base_url, tmp_path) as run:
        await run.start()
        lines = await run.ask(prompt)

    assert lines[-1]["subtype"] == "success", lines[-1]
    result = next(line for line in lines if line["type"] == "user")["message"]["content"][0]
    assert result["content"].split()[:2] == ["/workspace", "agent"]
    assert run.metered.meter.calls == 2
    exchanges = stand_in.recorded(since=mark)
    assert len(exchanges) == 2
    assert {tool["name"] for tool in exchanges[0].body["tools"]} == {"Bash", "Read"}
    assert all(exchange.headers["x-api-key"] == KEY for exchange in exchanges)
    assert not run.folder.path.exists()


async def test_run_without_jail_and_tools(stand_in: StandInProcess, tmp_path: Path) -> None:
    mark = stand_in.mark()
    state = tmp_path / ("long" * 30)
    async with agent_run(stand_in.base_url, state, tools=(), system="You are a helper.") as run:
        await run.start()
        lines = await run.ask("[[say=done]]")

    assert lines[-1]["result"] == "done"
    (exchange,) = stand_in.recorded(since=mark)
    assert not exchange.body.get("tools")
    assert exchange.body["system"][-1]["text"] == "You are a helper."
    assert exchange.headers["x-api-key"] == KEY


async def test_write_with_the_full_tools(stand_in: StandInProcess, tmp_path: Path) -> None:
    prompt = '[[tool=Write:{"file_path":"/workspace/a.txt","content":"x"}]] [[then]] [[tool=Glob:{"pattern":"*.txt"}]]'
    async with agent_run(stand_in.base_url, tmp_path, tools=("Write", "Glob", "Bash")) as run:
        await run.start()
        lines = await run.ask(prompt)

    results = [line["message"]["content"][0] for line in lines if line["type"] == "user"]
    assert not any(result.get("is_error") for result in results), results
    assert "a.txt" in str(results[1]["content"])


async def test_start_without_secrets_in_arguments_and_environment(
    stand_in: StandInProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GATEWAY", "visible")
    server = McpServerSpec(name="s", transport="stdio", command="/bin/cat", args=("-",), env={"PASSWORD": "hunter2"})
    async with agent_run(stand_in.base_url, tmp_path, system="Private prompt", mcp_servers=(server,)) as run:
        await run.start()
        assert run.process is not None
        seen = b""
        for pid in {run.process.pid, *descendants(run.process.pid)}:
            for name in ("cmdline", "environ"):
                seen += Path(f"/proc/{pid}/{name}").read_bytes()
        seen = b"\0".join(part for part in seen.split(b"\0") if not part.startswith(b"PASSWORD="))

    for secret in (b"hunter2", b"Private prompt", b"SECRET_OF_THE_GATEWAY", KEY.encode()):
        assert secret not in seen


async def test_kill_ends_everything_in_a_second(stand_in: StandInProcess, tmp_path: Path) -> None:
    daemon = "setsid sh -c 'sleep 987 & sleep 986' >/dev/null 2>&1 & echo started"
    async with agent_run(stand_in.base_url, tmp_path) as run:
        await run.start()
        await run.ask(f'[[tool=Bash:{{"command":"{daemon}"}}]]')
        assert run.process is not None
        pids = descendants(run.process.pid)
        assert len(pids) >= 4
        async with asyncio.timeout(1):
            await end(run.process)
            await eventually_async(lambda: not any(is_running(pid) for pid in pids))


async def test_kill_ends_everything_while_it_starts(stand_in: StandInProcess, tmp_path: Path) -> None:
    """Also where bubblewrap has not bound its child to its own life yet."""
    async with agent_run(stand_in.base_url, tmp_path) as run:
        for number in range(100):
            process = await run.spawn("sleep", "97531")
            await asyncio.sleep(number / 5_000)
            await end(process)  # waits for the pipe, too
    assert b"97531" not in b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
