"""Limit on runs that start at once, and the events that let the next one start."""

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Admitted, Streamed
from apiproxy.engines.sdk.pool import Pool
from apiproxy.runs import slot as slot_module
from apiproxy.runs.admission import Admission, QueueSnapshot
from tests.runs.test_admission import Waiter, settled
from tests.support.runs import RunDesk, turn_of
from tests.support.waiting import eventually_async


def admission(*, slots: int = 3, starting: int = 1, places: int = 10) -> Admission:
    return Admission(max_active=slots, max_waiting=places, wait_limit_s=60, max_starting=starting)


async def test_start_run_after_previous_one_asked_upstream() -> None:
    line = admission()
    first, second = Waiter(line), Waiter(line)
    slot = await first.slot()
    await settled()
    assert not second.task.done()
    assert second.positions == [1]

    slot.started()

    await second.slot()
    assert line.snapshot() == QueueSnapshot(active=2, waiting=0, max=3)


async def test_telling_twice_lets_one_more_start_and_not_two() -> None:
    line = admission()
    slot, waiters = await Waiter(line).slot(), [Waiter(line), Waiter(line)]

    slot.started()
    slot.started()
    slot.release()
    await settled()

    assert [waiter.task.done() for waiter in waiters] == [True, False]


async def test_start_next_run_when_one_ends_unsent() -> None:
    line = admission()
    slot, waiter = await Waiter(line).slot(), Waiter(line)

    slot.release()

    await waiter.slot()


async def test_start_others_during_slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_module, "BUSY_LIMIT_S", 0.01)
    line = admission()

    await Waiter(line).slot()

    await Waiter(line).slot()


async def test_fill_all_slots_when_queue_has_no_places() -> None:
    line = admission(places=0)
    slot, waiters = await Waiter(line).slot(), [Waiter(line), Waiter(line)]
    await settled()

    with pytest.raises(ProxyError) as refused:
        await Waiter(line).task
    assert refused.value.kind is FailureKind.QUEUE_FULL

    slot.started()
    (await waiters[0].slot()).started()
    await waiters[1].slot()


async def test_start_better_priority_first() -> None:
    line = admission()
    slot = await Waiter(line).slot()
    late, soon = Waiter(line, priority=1), Waiter(line, key=2, priority=0)
    await settled()

    slot.started()

    await soon.slot()
    assert not late.task.done()


@pytest.mark.asyncio(loop_scope="module")
async def test_start_next_run_while_one_waits_for_upstream(pool: Pool) -> None:
    desk = RunDesk(pool, starting=1)
    desk.start(turn_of("[[n=1]]"))  # a worker's first turn may start slowly
    await eventually_async(desk.free, within_s=20)
    waits, next_one = desk.start(turn_of("[[first=60]]")), desk.start(turn_of("[[n=1]]"))

    await next_one.read_to_the_end()

    assert next_one.last(Admitted).at >= waits.last(Admitted).at
    assert waits.last(Streamed) is None
    waits.run.stop(ProxyError(FailureKind.CANCELLED, "enough"))
    await waits.over()
    assert desk.free()
