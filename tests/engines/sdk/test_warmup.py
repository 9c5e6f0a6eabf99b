"""A worker's warm-up before its first turn, which no other part sees."""

import sys
from pathlib import Path

import psutil
import pytest

from apiproxy.engines.base import Completed
from tests.engines.sdk.test_pool import FAKE_CLI, NOWHERE, opened
from tests.support.engine import engine_request, mark, play, pool_in
from tests.support.stand_in import StandInProcess

START_S = 20.0


async def test_warm_up_without_upstream_call(tmp_path: Path, stand_in: StandInProcess) -> None:
    before, sent = stand_in.mark(), mark()
    async with opened(pool_in(tmp_path, upstream=stand_in.base_url)) as pool:
        assert await pool.warm()

        assert stand_in.recorded(since=before) == []

        turn = await play(pool, engine_request(f"{sent} [[n=1]]"))
        assert isinstance(turn.outcome, Completed)
        (only,) = stand_in.recorded(since=before)
        assert sent in only.raw.decode()
        assert "warm-up" not in only.raw.decode()


async def test_run_worker_at_lower_priority_than_server(tmp_path: Path, stand_in: StandInProcess) -> None:
    async with opened(pool_in(tmp_path, upstream=stand_in.base_url)) as pool:
        assert await pool.warm()

        niceness = [psutil.Process(worker.pid).nice() for worker in pool.snapshot() if worker.pid]

    assert niceness
    assert min(niceness) > psutil.Process().nice()


@pytest.mark.parametrize("behaviour", ["dies-in-rehearsal", "keeps-rehearsal"])
async def test_discard_worker_whose_warm_up_fails(tmp_path: Path, behaviour: str) -> None:
    cli = tmp_path / "cli"
    cli.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE_CLI}" {behaviour}\n')
    cli.chmod(0o755)
    async with opened(pool_in(tmp_path, upstream=NOWHERE, cli=cli)) as pool:
        assert not await pool.warm(timeout_s=START_S)
        assert pool.start_failures
        assert not pool.ready
