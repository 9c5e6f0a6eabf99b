"""A run's buffered events keep their order, and their number is bounded."""

import asyncio
import time
from typing import Any

from apiproxy.core.events import Finished, Streamed, Usage
from apiproxy.runs import event_buffer
from apiproxy.runs.event_buffer import EventBuffer

SOON_S = 1.0


def batch(number: int) -> Streamed:
    return Streamed(0.0, [{"type": "content_block_delta", "index": number}])


async def is_waiting(task: "asyncio.Task[Any]") -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_events_come_out_together_and_in_order() -> None:
    box, ending = EventBuffer(), Finished(0.0, "end_turn", Usage())
    for event in (batch(1), batch(2), ending):
        box.put(event)

    assert await box.take(SOON_S) == [batch(1), batch(2), ending]


async def test_wait_for_first_event() -> None:
    box = EventBuffer()
    taking = asyncio.create_task(box.take(60))
    assert await is_waiting(taking)

    box.put(batch(1))

    async with asyncio.timeout(SOON_S):
        assert await taking == [batch(1)]


async def test_without_events_the_time_is_told_by_an_empty_handful() -> None:
    started = time.monotonic()

    assert await EventBuffer().take(0.02) == []
    assert 0.02 <= time.monotonic() - started < SOON_S


async def test_give_each_wait_its_own_timeout() -> None:
    box = EventBuffer()
    for timeout_s in (0.2, 60, 0.05, 0.1):  # each ends before the timer of the one before, or after it
        taking = asyncio.create_task(box.take(timeout_s))
        assert await is_waiting(taking)
        box.put(batch(1))
        assert await taking == [batch(1)]
    started = time.monotonic()
    assert await box.take(0.3) == []
    assert 0.3 <= time.monotonic() - started < 0.3 + SOON_S
    assert await box.take(0.01) == []


async def test_pause_run_while_client_is_behind() -> None:
    box = EventBuffer()
    for number in range(event_buffer._MAX_BATCHES):
        assert not box.full
        box.put(batch(number))
    assert box.full
    waiting = asyncio.create_task(box.wait_for_room())
    assert await is_waiting(waiting)

    await box.take(SOON_S)

    assert not box.full
    async with asyncio.timeout(SOON_S):
        await waiting


async def test_accept_ending_always() -> None:
    box = EventBuffer()
    for number in range(event_buffer._MAX_BATCHES):
        box.put(batch(number))

    box.put(Finished(0.0, "end_turn", Usage()))

    assert isinstance((await box.take(SOON_S))[-1], Finished)


async def test_release_everything_when_consumer_stops() -> None:
    box = EventBuffer()
    for number in range(event_buffer._MAX_BATCHES):
        box.put(batch(number))
    waiting = asyncio.create_task(box.wait_for_room())
    assert await is_waiting(waiting)

    box.abandon()
    for number in range(2 * event_buffer._MAX_BATCHES):
        box.put(batch(number))

    async with asyncio.timeout(SOON_S):
        await waiting
    assert not box.full
    assert await box.take(0) == []
