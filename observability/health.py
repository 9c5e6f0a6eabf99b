"""Memory and uptime, for /debug/health and the health log line every five minutes."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from observability.payloads import WorkerRow
from observability.serialize.processes import worker_json
from observability.serialize.values import Json, human_duration

_MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Uptime:
    """Process uptime. started: monotonic time."""

    started: float

    @classmethod
    def now(cls) -> "Uptime":
        return cls(time.monotonic())

    def json(self) -> Json:
        seconds = time.monotonic() - self.started
        return {"uptimeMs": round(seconds * 1000), "uptimeHuman": human_duration(seconds)}


def own_process_json() -> Json:
    """Leak indicators: tasks of the event loop, threads and open file descriptors."""
    own = psutil.Process(os.getpid())
    return {"tasks": len(asyncio.all_tasks()), "threads": own.num_threads(), "descriptors": own.num_fds()}


def memory_json(workers: Sequence[WorkerRow]) -> Json:
    """Resident memory of this process and its workers; `rss` is human-readable."""
    own = psutil.Process(os.getpid()).memory_info()
    of_workers = sum(worker["rss"] for worker in workers)
    return {
        "rss": f"{own.rss / _MEGABYTE:.1f} MB",
        "rssBytes": own.rss,
        "vmsBytes": own.vms,
        "workersRssBytes": of_workers,
        "totalRssBytes": own.rss + of_workers,
        "workers": [worker_json(worker) for worker in workers],
    }
