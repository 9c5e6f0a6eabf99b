"""Arrival of requests: sequential, in a closed loop, or at a rate."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.soak.callers import Callers, Tally
from bench.soak.mix import KINDS, TIMED, Mix

OPEN_KEY = "env"
"""The key without limits."""
_LAST_ANSWERS_S = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Requests of a mix to one gateway. shares: how the keys share them. seed: of the mix."""

    callers: Callers
    shares: Mapping[str, int]
    seed: int
    max_open: int

    async def one_by_one(self, requests: int, *, agent: str) -> Tally:
        """Reads a number of streams to their end, one after the other."""
        mix, tally = Mix(self.seed, TIMED), Tally()
        for _ in range(requests):
            await self._one(mix, OPEN_KEY, agent, tally)
        return tally

    async def closed_loop(self, *, clients: int, seconds: float, agent: str) -> tuple[Tally, float]:
        """Runs a number of clients, each with one request at a time; returns outcomes and requests per second."""
        mix, tally = Mix(self.seed + 1, KINDS), Tally()
        started_at = time.monotonic()

        async def client() -> None:
            while time.monotonic() - started_at < seconds:
                await self._one(mix, OPEN_KEY, agent, tally)

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
        return tally, tally.sent() / (time.monotonic() - started_at)

    async def open_loop(self, *, rate: float, seconds: float, agent: str, tally: Tally) -> None:
        """Sends requests at an average rate without waiting for answers; returns when the last one has ended.

        Those for which there would be more than `max_open` connections are not sent, and counted.
        """
        mix = Mix(self.seed + 2, KINDS)
        started_at = time.monotonic()
        due_at, ends_at = started_at, started_at + seconds
        asking: set[asyncio.Task[None]] = set()
        while (due_at := due_at + mix.pause_s(rate)) < ends_at:
            if (wait_s := due_at - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            if self.callers.asking >= self.max_open:
                tally.not_sent += 1
                continue
            task = asyncio.create_task(self._one(mix, mix.one_of(self.shares), agent, tally))
            asking.add(task)
            task.add_done_callback(asking.discard)
            if wait_s <= 0:  # behind: the loop must see answers too
                await asyncio.sleep(0)
        if asking:
            await asyncio.wait(asking, timeout=_LAST_ANSWERS_S)

    async def _one(self, mix: Mix, key: str, agent: str, tally: Tally) -> None:
        request = mix.next()
        await self.callers.ask(request, key=key, agent=f"{agent}/{request.kind.name}", tally=tally)
