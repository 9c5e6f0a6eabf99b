"""Waiting for a future or a stop event."""

import asyncio

from apiproxy.runs.first_of import first_of


async def test_return_true_when_the_future_is_done_first() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    assert await first_of(future, asyncio.Event())


async def test_return_false_and_leave_the_future_when_stopped_first() -> None:
    future, stopped = asyncio.get_running_loop().create_future(), asyncio.Event()
    asyncio.get_running_loop().call_soon(stopped.set)
    assert not await first_of(future, stopped)
    assert not future.done()


async def test_return_false_and_leave_the_future_after_the_timeout() -> None:
    future = asyncio.get_running_loop().create_future()
    assert not await first_of(future, asyncio.Event(), timeout_s=0.001)
    assert not future.done()


async def test_return_true_without_raising_for_a_future_that_failed() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError)
    assert await first_of(future, asyncio.Event())
    assert isinstance(future.exception(), ValueError)


async def test_leave_no_task_behind() -> None:
    before = asyncio.all_tasks()
    await first_of(asyncio.get_running_loop().create_future(), asyncio.Event(), timeout_s=0.001)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
