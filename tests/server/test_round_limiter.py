"""Requests that begin in each round of the event loop."""

import asyncio

from apiproxy.server.round_limiter import RoundLimiter


async def begin(limiter: RoundLimiter, begun: list[int], number: int) -> None:
    await limiter.enter()
    begun.append(number)


async def test_begin_few_requests_in_each_round_in_order() -> None:
    limiter, begun = RoundLimiter(per_round=2), list[int]()
    tasks = [asyncio.create_task(begin(limiter, begun, number)) for number in range(50)]

    most, before, rounds = 0, 0, 0
    while len(begun) < len(tasks):
        await asyncio.sleep(0)
        most, before, rounds = max(most, len(begun) - before), len(begun), rounds + 1

    assert begun == list(range(50))
    assert most == 2
    assert rounds < 100


async def test_do_not_delay_request_after_quiet_round() -> None:
    limiter, begun = RoundLimiter(per_round=1), list[int]()
    for number in range(3):
        task = asyncio.create_task(begin(limiter, begun, number))
        await asyncio.sleep(0)
        assert task.done()
        await asyncio.sleep(0)


async def test_skip_requests_whose_clients_have_left() -> None:
    limiter, begun = RoundLimiter(per_round=1), list[int]()
    tasks = [asyncio.create_task(begin(limiter, begun, number)) for number in range(6)]
    await asyncio.sleep(0)
    for task in tasks[1:5]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert begun == [0, 5]
