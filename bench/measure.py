"""Measurements: the contestants take turns, so that other load on the machine affects all of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bench.contestants import Contestant, Took
from bench.questions import Question

Measurement = Callable[[], Awaitable[float]]
"""Makes one measurement; gives its value in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One contestant's part of a round. times: measurements in a round; requests: that each of them makes."""

    contestant: Contestant
    measurement: Measurement
    times: int
    requests: int = 1


@dataclass(slots=True)
class Samples:
    """Measurements of one contestant. values: seconds, in order; cpu_s: by part, over all requests."""

    values: list[float] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)
    requests: int = 0

    def cpu_ms_per_request(self) -> dict[str, float]:
        """Milliseconds of processor time for a request, by part."""
        return {part: round(seconds * 1000 / self.requests, 2) for part, seconds in self.cpu_s.items()}


async def alternate(entries: Mapping[str, Entry], *, rounds: int) -> dict[str, Samples]:
    """Measures each entry in each round, A B A B …"""
    samples = {name: Samples() for name in entries}
    for _ in range(rounds):
        for name, entry in entries.items():
            taken = samples[name]
            before = entry.contestant.cpu_s()
            for _ in range(entry.times):
                taken.values.append(await entry.measurement())
            taken.requests += entry.times * entry.requests
            for part, after_s in entry.contestant.cpu_s().items():
                taken.cpu_s[part] = taken.cpu_s.get(part, 0.0) + after_s - before[part]
    return samples


async def load(ask: Callable[[], Awaitable[object]], *, clients: int, requests: int) -> float:
    """Seconds until so many clients, each asking again as soon as it is answered, have made so many requests."""
    left = requests

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask()

    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return time.perf_counter() - started_at


def first_token_of(contestant: Contestant, question: Question) -> Measurement:
    """Seconds to the first token of a stream."""

    async def measurement() -> float:
        return first_token_s(await contestant.ask(question))

    return measurement


def total_of(contestant: Contestant, question: Question) -> Measurement:
    """Seconds to the end of the answer."""

    async def measurement() -> float:
        return (await contestant.ask(question)).total_s

    return measurement


def first_token_s(took: Took) -> float:
    """First token of a streamed answer with text."""
    assert took.first_token_s is not None, "a stream with a text has a first token"
    return took.first_token_s
