"""Limit on runs that keep the processor busy, and the runs that count."""

from dataclasses import dataclass

import pytest

from apiproxy.runs import admission as admission_module
from apiproxy.runs import cpu_pacing
from apiproxy.runs import slot as slot_module
from apiproxy.runs.admission import Admission, QueueSnapshot
from apiproxy.runs.slot import Slot
from tests.runs.test_admission import Waiter, settled
from tests.runs.test_starting import admission

FOREVER_S = 60.0


@dataclass
class Clock:
    """`time`, as far as slots look at it."""

    now: float = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission_module, "time", clock)
    monkeypatch.setattr(slot_module, "time", clock)
    return clock


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pacing in which a run that has asked the upstream stays at work throughout the test, without time limits."""
    monkeypatch.setattr(cpu_pacing, "_SENT_S", FOREVER_S)
    monkeypatch.setattr(cpu_pacing, "_MAX_PAUSE_S", FOREVER_S)


async def two_that_have_asked(line: Admission) -> list[Slot]:
    slots = []
    for _ in range(2):
        slots.append(await Waiter(line).slot())
        slots[-1].started()
    return slots


@pytest.mark.usefixtures("working")
async def test_queue_third_run_while_two_are_at_work() -> None:
    line = admission(slots=5)
    slots = await two_that_have_asked(line)
    third = Waiter(line)
    await settled()
    assert not third.task.done()
    assert line.snapshot() == QueueSnapshot(active=2, waiting=1, max=5)

    slots[0].release()

    await third.slot()


@pytest.mark.usefixtures("working")
async def test_twice_as_many_are_at_work_as_may_start() -> None:
    line = admission(slots=5, starting=2)
    await two_that_have_asked(line)
    await two_that_have_asked(line)
    fifth = Waiter(line)
    await settled()

    assert line.snapshot() == QueueSnapshot(active=4, waiting=1, max=5)
    assert not fifth.task.done()


async def test_count_waiting_for_upstream_as_not_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_pacing, "_SENT_S", 0.005)
    monkeypatch.setattr(cpu_pacing, "_MAX_PAUSE_S", FOREVER_S)
    line = admission(slots=5)
    await two_that_have_asked(line)

    await Waiter(line).slot()


async def test_when_all_stay_at_work_the_next_one_comes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_pacing, "_SENT_S", FOREVER_S)
    monkeypatch.setattr(cpu_pacing, "_MAX_PAUSE_S", 0.01)
    line = admission(slots=5)
    await two_that_have_asked(line)

    await Waiter(line).slot()


async def test_count_settling_run_as_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_pacing, "_SENT_S", 0.0)
    monkeypatch.setattr(cpu_pacing, "BUSY_LIMIT_S", FOREVER_S)
    monkeypatch.setattr(cpu_pacing, "_MAX_PAUSE_S", FOREVER_S)
    line = admission(slots=5)
    slots = await two_that_have_asked(line)
    for slot in slots:
        slot.working()
    third = Waiter(line)
    await settled()
    assert not third.task.done()

    slots[1].release()

    await third.slot()


async def test_count_slow_stream_as_no_work(clock: Clock) -> None:
    slot = await new_slot()
    slot.started()
    clock.now += FOREVER_S
    at_work_s = 0.0
    for _ in range(100):  # a second of it
        slot.streamed(1)
        at_work_s += slot.busy_until - clock.now
        clock.now += 0.01

    assert at_work_s == pytest.approx(0.05)


async def test_count_immediate_stream_as_work(clock: Clock) -> None:
    slot = await new_slot()
    slot.started()
    clock.now += FOREVER_S
    for _ in range(1_000):
        slot.streamed(8)
        clock.now += 0.004
        assert slot.busy_until >= clock.now

    clock.now += 0.01
    assert slot.busy_until < clock.now, "it stops with the stream"


async def test_never_count_busy_stream_as_less_work(clock: Clock) -> None:
    slot = await new_slot()
    before = slot.busy_until

    slot.streamed(1)

    assert slot.busy_until >= before


async def new_slot() -> Slot:
    return await Waiter(admission()).slot()


@pytest.mark.usefixtures("working")
async def test_start_another_key_at_once_beside_a_busy_one() -> None:
    """10,000 bad requests of one key made the first tokens of another eight times as slow."""
    line = admission(slots=5)
    busy = await two_that_have_asked(line)

    other = await Waiter(line, key=2).slot()
    third = Waiter(line, key=1)
    await settled()

    assert not third.task.done()
    other.release()
    busy[0].release()
    await settled()
    assert not third.task.done(), "one place at work is the other key's"
    busy[1].release()
    assert isinstance(await third.slot(), Slot)
