"""The buffer between a worker's reader and the turn's task is bounded, and every wait ends."""

import asyncio
from typing import Any

import pytest

from apiproxy.engines.sdk.message_buffer import MessageBuffer

SOON_S = 1.0


def event(number: int) -> dict[str, Any]:
    return {"type": "stream_event", "number": number}


RESULT: dict[str, Any] = {"type": "result"}


async def is_waiting(task: "asyncio.Task[Any]") -> bool:
    """True if the task still waits after everything that could go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_messages_come_out_together_and_in_order() -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    await message_buffer.put([event(1), event(2)], 10)
    await message_buffer.put([event(3)], 10)

    assert await message_buffer.take() == [event(1), event(2), event(3)]


async def test_wait_for_first_message() -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    taking = asyncio.create_task(message_buffer.take())
    assert await is_waiting(taking)

    await message_buffer.put([event(1)], 10)

    async with asyncio.timeout(SOON_S):
        assert await taking == [event(1)]


async def test_pause_reader_over_limit() -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    await message_buffer.put([event(1)], 100)
    putting = asyncio.create_task(message_buffer.put([event(2)], 1))
    assert await is_waiting(putting)

    assert await message_buffer.take() == [event(1), event(2)]

    async with asyncio.timeout(SOON_S):
        await putting


async def test_return_nothing_after_wake() -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    taking = asyncio.create_task(message_buffer.take())
    assert await is_waiting(taking)

    message_buffer.wake()

    async with asyncio.timeout(SOON_S):
        assert await taking == []


async def test_after_the_end_what_is_left_comes_out_and_then_none() -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    await message_buffer.put([event(1)], 10)

    message_buffer.close()

    assert await message_buffer.take() == [event(1)]
    assert await message_buffer.take() is None
    assert await message_buffer.take() is None


async def test_tell_waiting_taker_of_end() -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    taking = asyncio.create_task(message_buffer.take())
    assert await is_waiting(taking)

    message_buffer.close()

    async with asyncio.timeout(SOON_S):
        assert await taking is None


@pytest.mark.parametrize("end", [MessageBuffer.discard, MessageBuffer.close])
async def test_release_waiting_reader_when_abandoned(end: Any) -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    putting = asyncio.create_task(message_buffer.put([event(1)], 1000))
    assert await is_waiting(putting)

    end(message_buffer)

    async with asyncio.timeout(SOON_S):
        await putting
        await message_buffer.put([event(2)], 1000)
        await message_buffer.put([event(3)], 1000)


async def test_after_discard_only_the_result_is_kept() -> None:
    message_buffer = MessageBuffer(limit_bytes=100)
    await message_buffer.put([event(1)], 10)

    message_buffer.discard()
    await message_buffer.put([event(2), RESULT, event(3)], 10)

    assert await message_buffer.take() == [RESULT]
