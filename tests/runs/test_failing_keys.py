"""A key most of whose runs fail: it must not slow others down."""

import pytest

from apiproxy.runs import admission as admission_module
from apiproxy.runs import slot as slot_module
from apiproxy.runs.admission import Admission
from apiproxy.runs.slot import Slot
from tests.runs.test_admission import Waiter, settled
from tests.runs.test_cpu_pacing import Clock

GOOD, BAD = 1, 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission_module, "time", clock)
    monkeypatch.setattr(slot_module, "time", clock)
    return clock


def line() -> Admission:
    return Admission(max_active=5, max_waiting=10, wait_limit_s=60, max_starting=1)


async def run_of(queue: Admission, key: int, *, failed: bool, priority: int = 0) -> None:
    slot = await Waiter(queue, key=key, priority=priority).slot()
    slot.failed = failed
    slot.release()


async def failed_often(queue: Admission, clock: Clock) -> None:
    """The bad key has failed five times, and the good one was here just now."""
    for _ in range(5):
        await run_of(queue, BAD, failed=True)
        clock.now += 3
    await run_of(queue, BAD, failed=True)
    await run_of(queue, GOOD, failed=False)


async def waits(waiter: Waiter) -> bool:
    await settled()
    return not waiter.task.done()


def look(queue: Admission) -> None:
    """Do what its timer does."""
    queue._recheck()


async def test_start_failing_key_twice_a_second_when_idle(clock: Clock) -> None:
    queue = line()
    await failed_often(queue, clock)
    bad = Waiter(queue, key=BAD)
    assert await waits(bad)
    clock.now += 0.45
    look(queue)
    assert await waits(bad)
    clock.now += 0.06
    look(queue)
    (await bad.slot()).release()


async def test_delay_failing_key_two_seconds_at_most(clock: Clock) -> None:
    queue = line()
    await failed_often(queue, clock)
    busy: Slot = await Waiter(queue, key=GOOD).slot()
    bad = Waiter(queue, key=BAD)
    for _ in range(19):
        clock.now += 0.1
        busy.working()
        look(queue)
        assert await waits(bad)
    clock.now += 0.11
    busy.working()
    look(queue)
    await bad.slot()


async def test_delay_no_single_failing_key(clock: Clock) -> None:
    queue = line()
    for _ in range(20):
        await run_of(queue, BAD, failed=True)


async def test_tolerate_one_failure_in_three(clock: Clock) -> None:
    queue = line()
    for turn in range(30):
        await run_of(queue, GOOD, failed=False)
        await run_of(queue, BAD, failed=turn % 3 == 0)


async def test_stop_delaying_key_whose_runs_succeed(clock: Clock) -> None:
    queue = line()
    await failed_often(queue, clock)
    for _ in range(4):
        clock.now += 3
        await run_of(queue, BAD, failed=False)
    await run_of(queue, GOOD, failed=False)
    await run_of(queue, BAD, failed=False)


async def test_serve_later_priority_beside_failing_key(clock: Clock) -> None:
    queue = line()
    await failed_often(queue, clock)
    bad, later = Waiter(queue, key=BAD), Waiter(queue, key=3, priority=5)
    await settled()
    assert not bad.task.done()
    await later.slot()
