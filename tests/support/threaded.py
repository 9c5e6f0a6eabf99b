"""An asynchronous server of a test's own, beside tests and processes that are not."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")
_SWITCH_S = 10.0


@contextlib.contextmanager
def threaded(serving: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enters the asynchronous context on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="threaded server", daemon=True)
    thread.start()
    left = asyncio.Event()
    entered: asyncio.Future[T] = loop.create_future()

    async def serve() -> None:
        async with serving as served:
            entered.set_result(served)
            await left.wait()

    running = asyncio.run_coroutine_threadsafe(serve(), loop)
    try:
        yield asyncio.run_coroutine_threadsafe(_result(entered), loop).result(_SWITCH_S)
    finally:
        loop.call_soon_threadsafe(left.set)
        running.result(_SWITCH_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SWITCH_S)
        loop.close()


async def _result(future: asyncio.Future[T]) -> T:
    return await future
