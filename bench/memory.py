"""Memory of processes, in megabytes of a million bytes.

Resident: pages that processes share count in each of them. PSS: they count once, divided among the processes.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import psutil

from tests.support.processes import children_of

_EVERY_S = 0.05
_MEGABYTE = 1_000_000


def memory_mb(pid: int) -> dict[str, Any]:
    """Memory of a gateway: its own process, each of its workers, and the sum."""
    server = _resident_mb(psutil.Process(pid))
    workers = sorted(_resident_mb(process) for process in children_of(pid))
    return {"server": server, "workers": workers, "total": round(server + sum(workers), 1)}


async def peak_of_new_children_mb(work: Awaitable[object]) -> float:
    """The most that the processes which this one starts during the work hold together, looked at every 50 ms."""
    known = {process.pid for process in children_of(os.getpid())}
    task = asyncio.ensure_future(work)
    peak = 0.0
    while not (await asyncio.wait((task,), timeout=_EVERY_S))[0]:
        new = [process for process in children_of(os.getpid()) if process.pid not in known]
        peak = max(peak, sum(_resident_mb(process) for process in new))
    await task
    return round(peak, 1)


@contextlib.asynccontextmanager
async def pss_sampled(pid: int, *, every_s: float = 1.0) -> AsyncIterator[list[float]]:
    """Samples of the summed PSS of a process and all below it, taken while the context is open. Linux only."""
    samples: list[float] = []

    async def sample() -> None:
        while True:
            samples.append(await asyncio.to_thread(pss_mb, pid))
            await asyncio.sleep(every_s)

    task = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        task.cancel()


def pss_mb(pid: int) -> float:
    """Summed PSS of a process and all below it."""
    total = 0
    for process in (psutil.Process(pid), *children_of(pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return round(total / _MEGABYTE, 1)


def _resident_mb(process: psutil.Process) -> float:
    try:
        return round(float(process.memory_info().rss) / _MEGABYTE, 1)
    except psutil.NoSuchProcess:
        return 0.0
