"""Requests that are rejected because the queue is full before anything is done for them."""

import asyncio

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.runs.admission import Admission
from tests.runs.test_admission import Waiter, settled


async def test_report_full_queue_without_changing_it() -> None:
    queue = Admission(max_active=1, max_waiting=1, wait_limit_s=60)
    queue.check_room(key=1, priority=0)
    await Waiter(queue).slot()
    Waiter(queue)
    await settled()
    before = queue.snapshot()

    with pytest.raises(ProxyError) as rejected:
        queue.check_room(key=None, priority=0)

    assert rejected.value.kind is FailureKind.QUEUE_FULL
    assert rejected.value.retry_after_s is not None
    queue.check_room(key=2, priority=-1)  # a better priority evicts
    assert queue.snapshot() == before


async def test_agree_with_acquire_for_every_key() -> None:
    queue = Admission(max_active=1, max_waiting=4, wait_limit_s=60)
    stopped = asyncio.Event()
    requests = [1, 1, 1, 2, 1, 2, 3, 3]
    tasks = []
    for key in requests:
        try:
            queue.check_room(key=key, priority=0)
            room = True
        except ProxyError:
            room = False
        task = asyncio.create_task(queue.acquire(key=key, priority=0, stopped=stopped, on_queued=lambda _: None))
        await settled()
        assert room == (not task.done() or task.exception() is None)
        tasks.append(task)
    stopped.set()
    await asyncio.gather(*tasks, return_exceptions=True)
