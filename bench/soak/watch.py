"""Samples of a gateway under load: memory, workers, descriptors, threads, tasks, files."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench.soak.site import Site
from bench.stats import Line
from tests.support.processes import children_of

_MEGABYTE = 1_000_000
_IN_USE = frozenset({"starting", "idle", "busy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The gateway at one time: `at_s` since the start of the watch. Memory and files in MB of a million bytes.

    workers: without those that are on their way out; processes: with them. upstream: connections to the stand-in.
    folders: of workers in the state folder. cpu_s: of the server, so far.
    """

    at_s: float
    server_mb: float
    workers_mb: float
    largest_worker_mb: float
    workers: int
    processes: int
    descriptors: int
    threads: int
    tasks: int
    upstream: int
    active: int
    waiting: int
    turns: int
    folders: int
    database_mb: float
    logs_mb: float
    state_mb: float
    cpu_s: float

    @property
    def total_mb(self) -> float:
        """Server and workers."""
        return self.server_mb + self.workers_mb

    def line(self) -> Line:
        """Figures for the report."""
        return asdict(self)


def look(site: Site, at_s: float) -> Sample:
    """Takes a sample. Blocks for some milliseconds."""
    health = site.health()
    server = psutil.Process(site.gateway.pid)
    children = children_of(site.gateway.pid)
    sizes = [_megabytes(process) for process in children]
    state = site.gateway.state_dir
    port = urlsplit(site.stand_in.base_url).port
    times = server.cpu_times()
    return Sample(
        at_s=round(at_s, 1),
        server_mb=_megabytes(server),
        workers_mb=round(sum(sizes), 1),
        largest_worker_mb=max(sizes, default=0.0),
        workers=sum(1 for worker in health["memory"]["workers"] if worker["state"] in _IN_USE),
        processes=len(children),
        descriptors=server.num_fds(),
        threads=server.num_threads(),
        tasks=health["process"]["tasks"],
        upstream=sum(_connections(process, port) for process in (server, *children)),
        active=health["queue"]["active"],
        waiting=health["queue"]["waiting"],
        turns=sum(worker["turns"] for worker in health["memory"]["workers"]),
        folders=len(list((state / "workers").glob("*"))),
        database_mb=_size_mb(state, "db.sqlite3*"),
        logs_mb=_size_mb(state / "logs", "*"),
        state_mb=_size_mb(state, "**/*"),
        cpu_s=round(times.user + times.system, 2),
    )


@dataclass(slots=True)
class Watch:
    """Samples at regular times, each told to `report` as it is taken."""

    site: Site
    every_s: float
    report: Callable[[Sample], None]
    samples: list[Sample] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Watches for as long as the context is open."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        started_at = time.monotonic()
        while True:
            sample = await asyncio.to_thread(look, self.site, time.monotonic() - started_at)
            self.samples.append(sample)
            self.seen |= {process.pid for process in children_of(self.site.gateway.pid)}
            self.report(sample)
            await asyncio.sleep(self.every_s)


def _megabytes(process: psutil.Process) -> float:
    try:
        return round(float(process.memory_info().rss) / _MEGABYTE, 1)
    except psutil.NoSuchProcess:
        return 0.0


def _connections(process: psutil.Process, port: int | None) -> int:
    """The process's open connections to that port."""
    try:
        found: list[Any] = process.net_connections(kind="tcp")
    except psutil.Error:
        return 0
    return sum(1 for it in found if it.status == psutil.CONN_ESTABLISHED and it.raddr and it.raddr.port == port)


def _size_mb(folder: Path, pattern: str) -> float:
    total = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # a worker's file, gone meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return round(total / _MEGABYTE, 1)
