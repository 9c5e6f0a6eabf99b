"""Limits of a jail's memory, files and processes, with real programs that exceed them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apiproxy.engines.agents import watch as watch_module
from apiproxy.engines.agents.jail import JailLimits
from apiproxy.engines.agents.watch import Exceeded, JailWatch
from tests.support.agent_cli import AgentRun, agent_run, end, is_running
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.asyncio, pytest.mark.long]

LIMITS = JailLimits(memory_mb=256, disk_mb=64, processes=64)
ALLOCATE = "python3 -c 'x = []\nwhile True: x.append(bytearray(10**7))'"
SHARE = """python3 -c '
import os, time
kept = bytearray(10**8)
for _ in range(20):
    if os.fork() == 0:
        time.sleep(1)
        os._exit(0)
time.sleep(1)'; echo alive"""


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[AgentRun]:
    async with agent_run("http://127.0.0.1:9", tmp_path, limits=LIMITS) as started:
        yield started


async def watched(run: AgentRun, command: str, *, within_s: float = 20.0) -> tuple[list[Exceeded], str]:
    """Limits that the command has exceeded, and its output."""
    watch, exceeded = JailWatch(), list[Exceeded]()
    process = await run.spawn("/bin/bash", "-c", command)
    jail = watch.add(process.pid, LIMITS, exceeded.append)
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
        if process.returncode == -signal.SIGKILL:
            await eventually_async(lambda: exceeded)
    finally:
        await end(process)
        watch.remove(jail)
    return exceeded, output.decode()


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        (ALLOCATE, "memory"),
        (f"for i in 1 2 3; do ({ALLOCATE}) & done; wait", "memory"),
        ("cat /dev/zero > /workspace/large; sleep 60", "disk"),
        ("cat /dev/zero > /home/agent/large; sleep 60", "disk"),
        ("cat /dev/zero > /tmp/large; sleep 60", "disk"),
        ("cat /dev/zero > /dev/shm/large; sleep 60", "disk"),
        ("exec 3> /tmp/x; rm /tmp/x; cat /dev/zero >&3; sleep 60", "disk"),
        ("cd /tmp; i=0; while :; do : > $i; i=$((i + 1)); done", "disk"),
    ],
)
async def test_kill_jail_over_its_limit(run: AgentRun, command: str, limit: Exceeded) -> None:
    exceeded, _ = await watched(run, command)
    assert exceeded == [limit]


async def test_count_shared_memory_once(run: AgentRun) -> None:
    assert await watched(run, SHARE) == ([], "alive\n")


async def test_limit_processes_of_a_fork_bomb(run: AgentRun) -> None:
    exceeded, output = await watched(run, "bomb() { bomb | bomb & }; bomb; sleep 2")
    assert not exceeded
    assert "Resource temporarily unavailable" in output


async def test_kill_jail_that_cannot_be_measured(run: AgentRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> int:
        raise PermissionError

    monkeypatch.setattr(watch_module, "_resident_bytes", denied)
    monkeypatch.setattr(watch_module, "_MAX_FAILURES", 2)
    exceeded, _ = await watched(run, "sleep 60")
    assert exceeded == ["memory"]


async def test_kill_jail_if_the_machine_is_out_of_memory(run: AgentRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_LOW_PERCENT", 100)
    exceeded, _ = await watched(run, "sleep 60")
    assert exceeded == ["memory"]


async def test_end_thread_without_jails(run: AgentRun) -> None:
    watch = JailWatch(interval_s=0.01)
    process = await run.spawn("sleep", "60")
    jail = watch.add(process.pid, LIMITS, lambda _: None)
    thread = watch._thread
    assert thread is not None
    await end(process)
    watch.remove(jail)
    watch.remove(jail)
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    assert not is_running(process.pid)
