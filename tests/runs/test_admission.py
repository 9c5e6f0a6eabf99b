"""Admission: priorities, turns between keys, bounds, time limits, leaving the queue."""

import asyncio
from dataclasses import dataclass, field

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.runs.admission import Admission, QueueSnapshot
from apiproxy.runs.slot import Slot

SOON_S = 1.0


def admission(*, slots: int = 1, places: int = 10, wait_limit_s: float = 60) -> Admission:
    return Admission(max_active=slots, max_waiting=places, wait_limit_s=wait_limit_s)


@dataclass
class Waiter:
    """One request for a slot."""

    line: Admission
    key: int | None = 1
    priority: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    positions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.task: asyncio.Task[Slot | None] = asyncio.create_task(
            self.line.acquire(
                key=self.key, priority=self.priority, stopped=self.stopped, on_queued=self.positions.append
            )
        )

    async def slot(self) -> Slot:
        async with asyncio.timeout(SOON_S):
            slot = await self.task
        assert slot is not None
        return slot


async def settled() -> None:
    """Lets everything go on that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def in_order(waiters: list[Waiter], first: Slot) -> list[Waiter]:
    """The order in which the waiters are admitted when slots come free one by one."""
    order: list[Waiter] = []
    slot, left = first, list(waiters)
    while left:
        slot.release()
        await settled()
        (admitted,) = [waiter for waiter in left if waiter.task.done()]
        left.remove(admitted)
        order.append(admitted)
        slot = await admitted.slot()
    return order


async def test_give_free_slot_at_once() -> None:
    line = admission(slots=2)

    first, second = Waiter(line), Waiter(line)

    await first.slot()
    await second.slot()
    assert first.positions == second.positions == [0]
    assert line.snapshot() == QueueSnapshot(active=2, waiting=0, max=2)


async def test_wait_until_slot_is_released() -> None:
    line = admission()
    slot = await Waiter(line).slot()
    waiter = Waiter(line)
    await settled()
    assert not waiter.task.done()
    assert waiter.positions == [1]
    assert line.snapshot() == QueueSnapshot(active=1, waiting=1, max=1)

    slot.release()

    await waiter.slot()
    assert line.snapshot() == QueueSnapshot(active=1, waiting=0, max=1)


async def test_count_slot_released_twice_once() -> None:
    line = admission()
    slot = await Waiter(line).slot()

    slot.release()
    slot.release()

    assert line.snapshot().active == 0


async def test_within_a_key_the_first_come_is_the_first_served() -> None:
    line = admission()
    slot = await Waiter(line).slot()
    waiters = [Waiter(line) for _ in range(4)]
    await settled()

    assert await in_order(waiters, slot) == waiters


async def test_take_turns_between_keys() -> None:
    line = admission(places=200)
    slot = await Waiter(line).slot()
    many = [Waiter(line, key=1) for _ in range(100)]
    await settled()
    few = [Waiter(line, key=2), Waiter(line, key=2)]
    await settled()

    order = await in_order([*many, *few], slot)

    assert [order.index(waiter) for waiter in few] == [0, 2]


async def test_prefer_lower_priority_value() -> None:
    line = admission()
    slot = await Waiter(line).slot()
    waiters = {priority: Waiter(line, key=priority, priority=priority) for priority in (5, 0, -3, 9)}
    await settled()

    order = await in_order(list(waiters.values()), slot)

    assert [waiter.priority for waiter in order] == [-3, 0, 5, 9]


async def test_reject_at_once_with_retry_after_when_queue_is_full() -> None:
    line = admission(places=1)
    await Waiter(line).slot()
    Waiter(line)
    await settled()

    with pytest.raises(ProxyError) as refused:
        await Waiter(line).slot()

    assert refused.value.kind is FailureKind.QUEUE_FULL
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s >= 1
    assert line.snapshot().waiting == 1


async def refused(waiter: Waiter) -> str:
    with pytest.raises(ProxyError) as refusal:
        await waiter.slot()
    assert refusal.value.kind is FailureKind.QUEUE_FULL
    assert refusal.value.retry_after_s is not None
    return refusal.value.message


async def test_share_full_queue_between_keys() -> None:
    line = admission(places=10)
    slot = await Waiter(line, key=1).slot()
    many = [Waiter(line, key=1) for _ in range(10)]
    await settled()
    few = [Waiter(line, key=2) for _ in range(6)]
    await settled()

    assert [waiter.task.done() for waiter in many] == [False] * 5 + [True] * 5
    assert "had the most waiting" in await refused(many[-1])
    assert [waiter.task.done() for waiter in few] == [False] * 5 + [True]
    assert await refused(few[-1]) == "The gateway's queue is full."
    assert len(await in_order(many[:5] + few[:5], slot)) == 10


async def test_keep_two_keys_from_evicting_each_other() -> None:
    line = admission(places=1)
    await Waiter(line, key=3).slot()
    first = Waiter(line, key=1)
    await settled()

    await refused(Waiter(line, key=2))

    assert not first.task.done()


async def test_evict_last_priority_first_and_never_a_better_one() -> None:
    line = admission(places=3)
    await Waiter(line).slot()
    late, early = Waiter(line, key=1, priority=5), [Waiter(line, key=2, priority=0) for _ in range(2)]
    await settled()
    newcomer = Waiter(line, key=3, priority=1)
    await settled()

    assert "higher priority" in await refused(late)
    assert not newcomer.task.done()
    assert await refused(Waiter(line, key=4, priority=2)) == "The gateway's queue is full."
    assert not any(waiter.task.done() for waiter in early)


async def test_leave_a_full_queue_while_giving_way() -> None:
    line = admission(places=2)
    slot = await Waiter(line, key=1).slot()
    staying, leaving = Waiter(line, key=1), Waiter(line, key=1)
    await settled()
    newcomer = Waiter(line, key=2)
    leaving.stopped.set()
    await settled()

    assert await leaving.task is None
    assert line.snapshot().waiting == 2
    assert len(await in_order([staying, newcomer], slot)) == 2


async def test_serve_at_once_without_queue_places() -> None:
    line = admission(places=0)
    await Waiter(line).slot()

    with pytest.raises(ProxyError):
        await Waiter(line).slot()


async def test_leave_queue_after_wait_limit() -> None:
    line = admission(wait_limit_s=0.02)
    slot = await Waiter(line).slot()

    with pytest.raises(ProxyError) as refused:
        await Waiter(line).slot()

    assert refused.value.kind is FailureKind.QUEUE_TIMEOUT
    assert line.snapshot().waiting == 0
    slot.release()
    assert line.snapshot().active == 0


async def test_leave_queue_at_once_when_stopped() -> None:
    line = admission(places=2)
    slot = await Waiter(line).slot()
    leaving, staying = Waiter(line), Waiter(line)
    await settled()

    leaving.stopped.set()

    async with asyncio.timeout(SOON_S):
        assert await leaving.task is None
    assert line.snapshot().waiting == 1
    slot.release()
    await staying.slot()


async def test_give_slot_to_next_when_its_receiver_leaves() -> None:
    line = admission()
    slot = await Waiter(line).slot()
    leaving, staying = Waiter(line), Waiter(line)
    await settled()

    slot.release()
    leaving.stopped.set()

    async with asyncio.timeout(SOON_S):
        assert await leaving.task is None
    await staying.slot()
    assert line.snapshot() == QueueSnapshot(active=1, waiting=0, max=1)


async def test_follow_service_times_in_retry_after() -> None:
    line = admission()
    before = line.retry_after_s()
    for _ in range(30):
        (await Waiter(line).slot()).release()

    assert line.retry_after_s() == 1.0 < before
    slot = await Waiter(line).slot()
    for _ in range(30):
        line.on_released(slot, held_s=10_000)
    assert line.retry_after_s() == 120.0
