"""The pool keeps workers ready ahead of need, replaces what wears out or dies, and never lets one be lost."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.engines.base import Broken, Completed, EngineRequest, Stopped
from apiproxy.engines.sdk import pool as pool_module
from apiproxy.engines.sdk import worker as worker_module
from apiproxy.engines.sdk.pool import Pool
from apiproxy.engines.sdk.transport import CliTransport
from tests.support.engine import engine_request, finish, mark, play, pool_in
from tests.support.processes import is_alive
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async

SOON_S = 20.0
NOWHERE = "http://127.0.0.1:9"
FAKE_CLI = Path(__file__).parent / "fake_cli.py"


def states(pool: Pool) -> list[str]:
    return sorted(worker.state for worker in pool.snapshot())


def idle_pids(pool: Pool) -> list[int]:
    return [worker.pid for worker in pool.snapshot() if worker.state == "idle"]


@asynccontextmanager
async def opened(pool: Pool) -> AsyncIterator[Pool]:
    """Closes the pool at the end, and checks that nothing of it is left."""
    pids: set[int] = set()
    try:
        yield pool
    finally:
        pids |= {worker.pid for worker in pool.snapshot() if worker.pid}
        await pool.close()
        assert not [pid for pid in pids if is_alive(pid)]


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an executable out of a line of shell: a CLI that misbehaves as the bundled one never does."""

    def write(line: str) -> Path:
        path = tmp_path / "cli"
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return path

    return write


def fake_cli(script: Callable[[str], Path], behaviour: str) -> Path:
    return script(f'exec "{sys.executable}" "{FAKE_CLI}" {behaviour}')


class TestReal:
    """Tests with the bundled CLI."""

    async def test_start_successor_before_worn_out_worker_ends(self, stand_in: StandInProcess, tmp_path: Path) -> None:
        pool = pool_in(tmp_path, upstream=stand_in.base_url, max_busy=1, spares=1, max_turns=3)
        async with opened(pool):
            assert await pool.warm()
            pids: list[int] = []
            most = 0
            while len(set(pids)) < 3:
                turn = await play(pool, engine_request("[[n=1]]"))
                assert isinstance(turn.outcome, Completed)
                assert any(worker.state in ("idle", "busy") for worker in pool.snapshot()), "a turn would have to wait"
                pids.append(turn.pid)
                most = max(most, len(pool.snapshot()))

            assert min(pids.count(pid) for pid in set(pids[:-1])) >= 3
            assert most <= 3, "one successor for one worker, however long it takes to start"
            await eventually_async(lambda: len(pool.snapshot()) <= 2, within_s=SOON_S)

    async def test_lay_a_resting_overlay_between_two_keys_only(self, stand_in: StandInProcess, tmp_path: Path) -> None:
        pool = pool_in(tmp_path, upstream=stand_in.base_url, max_busy=1, spares=1)
        async with opened(pool):
            assert await pool.warm()
            rested, write = list[bool](), CliTransport.write_bytes

            async def watched(transport: CliTransport, *lines: bytes) -> None:
                rested.extend(b"apply_flag_settings" in line and b'"uuid"' not in line for line in lines)
                await write(transport, *lines)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(CliTransport, "write_bytes", watched)
                counts = []
                for key_id in (1, 1, 2, 2, 1):
                    played = await play(pool, replace(engine_request("[[n=1]]"), key_id=key_id))
                    assert played.text == "tok0 "
                    counts.append(sum(rested))
                    rested.clear()

        assert counts == [0, 0, 1, 0, 1]

    async def test_replace_worker_killed_in_the_middle(self, stand_in: StandInProcess, tmp_path: Path) -> None:
        sent = mark()
        async with opened(pool_in(tmp_path, upstream=stand_in.base_url)) as pool:
            answer = await pool.begin(engine_request(f"{sent} [[n=3]] [[midhang=2]]"))
            assert await answer.next_batch()

            os.kill(answer.pid, signal.SIGKILL)
            turn = await finish(answer)

            assert isinstance(turn.outcome, Broken)
            assert turn.outcome.error.kind is FailureKind.WORKER_DIED
            assert stand_in.ended(sent).closed_by_client
            assert (await play(pool, engine_request("[[n=1]]"))).text == "tok0 "

    async def test_closing_ends_the_busy_workers_too(self, stand_in: StandInProcess, tmp_path: Path) -> None:
        pool = pool_in(tmp_path, upstream=stand_in.base_url)
        answer = await pool.begin(engine_request("[[n=3]] [[midhang=2]]"))
        pid = answer.pid

        await pool.close()

        assert not is_alive(pid)
        await finish(answer)
        assert not [*tmp_path.iterdir()]
        with pytest.raises(ProxyError) as refused:
            await pool.begin(engine_request("[[n=1]]"))
        assert refused.value.kind is FailureKind.DRAINING


class TestScripted:
    """Tests with executables that start quickly, or behave as the bundled CLI never does."""

    async def test_replace_idle_worker_that_dies(self, tmp_path: Path, script: Callable[[str], Path]) -> None:
        cli = fake_cli(script, "good")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            assert await pool.warm()
            await eventually_async(lambda: "starting" not in states(pool), within_s=SOON_S)
            before = idle_pids(pool)

            for pid in before:
                os.kill(pid, signal.SIGKILL)

            await eventually_async(lambda: idle_pids(pool) and not set(before) & set(idle_pids(pool)), within_s=SOON_S)
            assert (await play(pool, engine_request("hi"))).text == "hello"

    async def test_many_at_once_on_a_cold_pool_are_all_answered(
        self, tmp_path: Path, script: Callable[[str], Path]
    ) -> None:
        cli = fake_cli(script, "good")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli, max_busy=5, spares=2)) as pool:
            turns = await asyncio.gather(*(play(pool, engine_request("hi")) for _ in range(5)))

            assert [turn.text for turn in turns] == ["hello"] * 5
            await eventually_async(lambda: set(states(pool)) == {"idle"}, within_s=SOON_S)
            assert len(pool.snapshot()) <= 7

    async def test_replace_idle_worker_on_operators_retire(self, tmp_path: Path, script: Callable[[str], Path]) -> None:
        cli = fake_cli(script, "good")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            assert await pool.warm()
            worker = next(worker for worker in pool.snapshot() if worker.state == "idle")

            assert pool.retire(worker.id)

            await eventually_async(lambda: not is_alive(worker.pid), within_s=SOON_S)
            assert (await play(pool, engine_request("hi"))).pid != worker.pid
            assert not pool.retire("unknown")

    async def test_let_busy_worker_finish_on_operators_retire(
        self, tmp_path: Path, script: Callable[[str], Path]
    ) -> None:
        cli = fake_cli(script, "good")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            answer = await pool.begin(engine_request("hi"))
            busy = next(worker for worker in pool.snapshot() if worker.state == "busy")

            assert pool.retire(busy.id)

            assert (await finish(answer)).text == "hello"
            await eventually_async(lambda: not is_alive(busy.pid), within_s=SOON_S)

    async def test_report_pool_unready_when_cli_cannot_start(
        self, tmp_path: Path, script: Callable[[str], Path]
    ) -> None:
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=script("exit 3"))) as pool:
            assert not await pool.warm()
            assert not pool.ready

            with pytest.raises(ProxyError) as refused:
                await pool.begin(engine_request("hi"))

            assert refused.value.kind is FailureKind.WORKER_UNAVAILABLE
            assert pool.start_failures >= 1

    async def test_survive_state_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("")
        async with opened(pool_in(blocked, upstream=NOWHERE)) as pool:
            with pytest.raises(ProxyError) as refused:
                await pool.begin(engine_request("hi"))

            assert refused.value.kind is FailureKind.WORKER_UNAVAILABLE

    async def test_retry_start_of_pool_by_itself(
        self, tmp_path: Path, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool_module, "_RESTART_PAUSE_S", 0.05)
        cli = script("exit 3")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            assert not await pool.warm()

            fake_cli(script, "good")

            await eventually_async(lambda: pool.ready, within_s=SOON_S)

    @pytest.mark.fault("The CLI", "starts and never answers", trace="worker_unavailable", after="killed")
    async def test_kill_cli_that_never_answers(
        self, tmp_path: Path, script: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_module, "START_TIMEOUT_S", 0.3)
        cli = fake_cli(script, "mute")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            with pytest.raises(ProxyError) as refused:
                await pool.begin(engine_request("hi"))

            assert refused.value.kind is FailureKind.WORKER_UNAVAILABLE

    @pytest.mark.parametrize(
        ("behaviour", "act"),
        [
            ("refuses-overlay", None),
            ("dies-in-turn", None),
            ("ignores-interrupt", "stop"),
            ("does-not-rewind", None),
        ],
    )
    async def test_replace_worker_that_cannot_be_trusted(
        self, tmp_path: Path, script: Callable[[str], Path], behaviour: str, act: str | None
    ) -> None:
        cli = fake_cli(script, behaviour)
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            answer = await pool.begin(engine_request("hi"))
            if act == "stop":
                await answer.next_batch()
                answer.stop()

            async with asyncio.timeout(SOON_S):
                turn = await finish(answer)

            expected = {"ignores-interrupt": Stopped, "does-not-rewind": Completed}.get(behaviour, Broken)
            assert isinstance(turn.outcome, expected)
            await eventually_async(lambda: not is_alive(turn.pid), within_s=SOON_S)
            await eventually_async(lambda: idle_pids(pool) and turn.pid not in idle_pids(pool), within_s=SOON_S)

    async def test_never_show_previous_answer_on_rejected_overlay(
        self, tmp_path: Path, script: Callable[[str], Path]
    ) -> None:
        cli = fake_cli(script, "refuses-overlay")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            turn = await play(pool, engine_request("hi"))

            assert turn.events == []
            assert isinstance(turn.outcome, Broken)
            assert turn.outcome.error.kind is FailureKind.WORKER_DIED

    async def test_replace_worker_above_memory_limit(self, tmp_path: Path, script: Callable[[str], Path]) -> None:
        cli = fake_cli(script, "good")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli, max_rss_bytes=1)) as pool:
            first = (await play(pool, engine_request("hi"))).pid

            deadline = time.monotonic() + 20
            while first in idle_pids(pool) and time.monotonic() < deadline:
                await play(pool, engine_request("hi"))

            assert first not in idle_pids(pool)
            assert (await play(pool, engine_request("hi"))).pid != first

    async def test_reject_unwritable_body_without_losing_a_worker(
        self, tmp_path: Path, script: Callable[[str], Path]
    ) -> None:
        deep: dict[str, Any] = {}
        for _ in range(3_000):
            deep = {"d": deep}
        cli = fake_cli(script, "good")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            assert await pool.warm()
            before = idle_pids(pool)
            for _ in range(3):
                with pytest.raises(ProxyError) as refused:
                    await pool.begin(EngineRequest(run_id="r", model="m", body={"deep": deep}))
                assert refused.value.kind is FailureKind.INVALID_REQUEST

            assert (await play(pool, engine_request("hi"))).text == "hello"
            assert set(before) <= set(idle_pids(pool))
            assert "busy" not in states(pool)

    async def test_keep_worker_when_waiting_request_gives_up(
        self, tmp_path: Path, script: Callable[[str], Path]
    ) -> None:
        cli = fake_cli(script, "good")
        async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
            waiting = asyncio.create_task(pool.begin(engine_request("hi")))
            await asyncio.sleep(0)

            waiting.cancel()

            await eventually_async(lambda: "idle" in states(pool) and "starting" not in states(pool), within_s=SOON_S)
            assert set(states(pool)) == {"idle"}
            assert (await play(pool, engine_request("hi"))).text == "hello"


def test_leave_no_fake_cli_behind() -> None:
    mine = psutil.Process().children(recursive=True)
    assert not [process for process in mine if FAKE_CLI.name in " ".join(process.cmdline())]
