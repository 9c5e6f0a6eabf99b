"""Starts stand still while a run begins, and go on."""

import asyncio
from pathlib import Path

import psutil

from apiproxy.engines.sdk.pool import Pool
from apiproxy.engines.sdk.start_hold import _MAX_SUSPENDED_S, HOLD_S, StartHold
from apiproxy.engines.sdk.worker import Worker, WorkerState
from tests.support.engine import engine_request, finish, pool_in
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async


def starting(pool: Pool) -> list[Worker]:
    return [worker for worker in pool._workers.values() if worker.state is WorkerState.STARTING and worker.pid]


def is_stopped(worker: Worker) -> bool:
    return psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED


async def test_start_stands_still_while_a_run_begins(stand_in: StandInProcess, tmp_path: Path) -> None:
    pool = pool_in(tmp_path, upstream=stand_in.base_url, max_busy=3, spares=1)
    try:
        assert await pool.warm()
        answer = await pool.begin(engine_request("[[n=1]]"))  # the only worker: another one starts
        hold = StartHold()
        (spare,) = await eventually_async(lambda: starting(pool), within_s=10)
        hold.hold(pool._workers.values())
        await eventually_async(lambda: is_stopped(spare), within_s=5)
        await eventually_async(lambda: not is_stopped(spare), within_s=5)  # by itself
        await finish(answer)
        await eventually_async(lambda: spare.state is WorkerState.IDLE, within_s=20)
    finally:
        await pool.close()


async def test_start_is_held_for_a_limited_time() -> None:
    class Starting:
        state = WorkerState.STARTING
        suspended_s = 0.0
        pid = 0

    worker = Starting()
    hold = StartHold()
    for _ in range(50):
        hold.hold([worker])  # type: ignore[list-item]  # as much of a worker as it looks at
    assert worker.suspended_s <= _MAX_SUSPENDED_S + HOLD_S

    until = asyncio.get_running_loop().time() + 3 * HOLD_S
    while asyncio.get_running_loop().time() < until:  # runs go on to begin
        hold.hold([worker])  # type: ignore[list-item]
        await asyncio.sleep(0.01)
    assert not hold._held


async def test_resume_worker_suspended_as_it_became_ready(stand_in: StandInProcess, tmp_path: Path) -> None:
    pool = pool_in(tmp_path, upstream=stand_in.base_url, max_busy=3, spares=1)
    try:
        assert await pool.warm()
        worker = pool._idle[-1]
        worker.state = WorkerState.STARTING  # as it is between its report and the pool's reading of it
        pool._start_hold.hold([worker])
        await eventually_async(lambda: is_stopped(worker), within_s=5)
        pool._idle.remove(worker)
        assert is_stopped(worker)
        pool._on_ready(worker)
        await eventually_async(lambda: not is_stopped(worker), within_s=HOLD_S / 2)
    finally:
        await pool.close()


async def test_run_that_needs_the_start_lets_it_go_on(stand_in: StandInProcess, tmp_path: Path) -> None:
    pool = pool_in(tmp_path, upstream=stand_in.base_url, max_busy=3, spares=1)
    try:
        assert await pool.warm()
        first = await pool.begin(engine_request("[[n=1]]"))
        (spare,) = await eventually_async(lambda: starting(pool), within_s=10)
        pool._start_hold.hold(pool._workers.values())
        second = await pool.begin(engine_request("[[n=1]]"))
        assert spare.suspended_s <= 2 * HOLD_S
        await finish(first)
        await finish(second)
    finally:
        await pool.close()
