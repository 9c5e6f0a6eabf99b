"""Pool of warm CLI workers, started ahead of need; replacements start before a worker retires.

One pool serves all models, because the overlay sets the model of each request (docs/decisions/0005-one-pool.md).
"""

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import EngineName
from apiproxy.engines.base import EngineRequest, WorkerSnapshot
from apiproxy.engines.sdk.launch import LaunchSpec
from apiproxy.engines.sdk.start_hold import StartHold
from apiproxy.engines.sdk.turn import WorkerAnswer
from apiproxy.engines.sdk.worker import START_TIMEOUT_S, Worker, WorkerState

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 8.0
_RESTART_PAUSE_S = 0.5
_MAX_RESTART_PAUSE_S = 10.0
"""Pause between start attempts without a waiting request: doubles with each failure, up to the maximum."""
_RSS_CHECK_TURNS = 10
_RSS_CHECK_BODY_BYTES = 1024 * 1024
"""A worker's memory is checked after this many turns, and after each turn with a body of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Limits of the pool.

    max_busy: run slots. spares: idle workers to keep. Workers retire after max_turns or above max_rss_bytes.
    """

    max_busy: int
    spares: int
    max_turns: int
    max_rss_bytes: int


class Pool:
    """The `engines.base.Engine` on warm CLI processes. Bound to one event loop."""

    def __init__(self, *, spec: LaunchSpec, limits: PoolLimits) -> None:
        self._spec = spec
        self._limits = limits
        self._workers: dict[str, Worker] = {}
        self._idle: list[Worker] = []
        self._starting = 0
        self._busy = 0
        self._waiters: deque[asyncio.Future[Worker]] = deque()
        self._supervisors: set[asyncio.Task[None]] = set()
        self._closing = False
        self._restart_timer: asyncio.TimerHandle | None = None
        self._start_hold = StartHold()
        self._last_start_succeeded = False
        self.start_failures = 0

    @property
    def name(self) -> EngineName:
        return "sdk"

    async def begin(self, request: EngineRequest) -> WorkerAnswer:
        """Hand the request to an idle worker, or wait for one to start."""
        if not self._idle:  # a worker has to start first, which is not CPU time of this run
            request.on_waiting()
        worker = await self._acquire()
        if not self._waiters:
            self._start_hold.hold(self._workers.values())
        worker.run_id, worker.serving, worker.body_bytes = request.run_id, request.model, request.body_bytes
        answer = WorkerAnswer(worker, request, self._release)
        try:
            if not request.may_begin():
                raise ProxyError(FailureKind.CANCELLED, "The request was cancelled.")
            await answer.start()
        except ProxyError:
            self._release(worker, usable=True)
            raise
        except BaseException:  # including cancellation: no caller will release this answer
            self._release(worker, usable=False)
            raise
        return answer

    async def warm(self, *, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Start the spares and wait until one is ready; False if none is in time."""
        self._refill()
        try:
            async with asyncio.timeout(timeout_s):
                worker = await self._acquire()
        except (TimeoutError, ProxyError):
            return False
        worker.turns -= 1
        self._release(worker, usable=True)
        return True

    @property
    def ready(self) -> bool:
        """True if a worker is idle or busy, or the last start succeeded."""
        return self._last_start_succeeded or any(
            worker.state in (WorkerState.IDLE, WorkerState.BUSY) for worker in self._workers.values()
        )

    def snapshot(self) -> list[WorkerSnapshot]:
        """All workers; one system call each, for the memory."""
        return [
            WorkerSnapshot(
                id=worker.id,
                pid=worker.pid,
                state=worker.state.value,
                turns=worker.turns,
                rss_bytes=worker.rss_bytes(),
                started_at=worker.started_at,
                run_id=worker.run_id,
                model=worker.serving,
            )
            for worker in self._workers.values()
        ]

    def retire(self, worker_id: str) -> bool:
        """Retire an idle worker now, a busy one after its turn; False if there is no such worker."""
        worker = self._workers.get(worker_id)
        if worker is None or worker.state not in (WorkerState.IDLE, WorkerState.BUSY):
            return False
        worker.retire_due = True
        if worker in self._idle:
            self._idle.remove(worker)
            worker.retire()
            self._refill()
        return True

    async def close(self) -> None:
        """End all workers and wait for their processes, at most `_CLOSE_TIMEOUT_S`."""
        self._closing = True
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self._start_hold.resume()
        while self._waiters:
            _reject(self._waiters.popleft())
        for worker in self._workers.values():
            worker.retire()
        if self._supervisors:
            await asyncio.wait(self._supervisors, timeout=_CLOSE_TIMEOUT_S)
        for worker in self._workers.values():
            worker.transport.kill()

    async def _acquire(self) -> Worker:
        if self._closing:
            raise ProxyError(FailureKind.DRAINING, "The gateway is shutting down.")
        worker = self._take_idle() or await self._wait_for_worker()
        worker.state = WorkerState.BUSY
        worker.turns += 1
        self._busy += 1
        self._refill()
        return worker

    def _take_idle(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
        return None

    async def _wait_for_worker(self) -> Worker:
        waiter: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._start_hold.resume()
        self._refill()
        try:
            await asyncio.wait((waiter,), timeout=START_TIMEOUT_S)
            if not waiter.done():
                raise ProxyError(FailureKind.WORKER_UNAVAILABLE, "No worker became ready in time.")
            return waiter.result()
        except asyncio.CancelledError:
            if waiter.done() and waiter.exception() is None:
                self._put_idle(waiter.result())
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _release(self, worker: Worker, usable: bool) -> None:
        self._busy -= 1
        worker.run_id = worker.serving = None
        if not usable or self._closing or not worker.alive:
            worker.retire()
        elif not self._should_retire(worker):
            self._put_idle(worker)
        elif self._idle:
            worker.retire()
        else:  # stays in use until its replacement is ready
            self._put_idle(worker)
            if not self._starting:
                self._start()
        self._refill()

    def _should_retire(self, worker: Worker) -> bool:
        """True if the worker is due to retire; once due it stays due, as it may wait for its successor."""
        due = worker.turns % _RSS_CHECK_TURNS == 0 or worker.body_bytes > _RSS_CHECK_BODY_BYTES
        heavy = due and worker.rss_bytes() > self._limits.max_rss_bytes
        worker.retire_due = worker.retire_due or heavy or worker.turns >= worker.max_turns
        return worker.retire_due

    def _put_idle(self, worker: Worker) -> None:
        worker.state = WorkerState.IDLE
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    def _refill(self) -> None:
        """Start the missing workers: one for each waiter, and spares up to the free slots.

        Spares one at a time: a start takes half a second of a core, which runs need.
        """
        if self._closing:
            return
        spares = min(self._limits.spares, self._limits.max_busy - self._busy)
        wanted = max(len(self._waiters), 1 if len(self._waiters) + spares > len(self._idle) else 0)
        while self._starting < wanted and self._start():
            pass

    def _start(self) -> bool:
        try:
            worker = Worker(spec=self._spec, max_turns=self._turn_limit())
        except OSError as error:  # the state folder: disk full, no permission
            logger.error("worker.folder_failed", extra={"error": repr(error)})
            self._start_failed()
            return False
        self._starting += 1
        self._workers[worker.id] = worker
        supervisor = asyncio.create_task(self._supervise(worker), name=f"supervise worker {worker.id}")
        self._supervisors.add(supervisor)
        supervisor.add_done_callback(self._supervisors.discard)
        return True

    def _turn_limit(self) -> int:
        """Turns until retirement: up to a tenth below the limit.

        Otherwise, workers started together would retire together.
        """
        limit = self._limits.max_turns
        return limit - random.randrange(limit // 10 + 1)  # noqa: S311 — no secret

    async def _supervise(self, worker: Worker) -> None:
        """Follow a worker from its start to its end."""
        try:
            await worker.wait_ready()
        except ProxyError:
            self._starting -= 1
            self._start_failed()
        else:
            self._starting -= 1
            self.start_failures = 0
            self._last_start_succeeded = True
            self._on_ready(worker)
            self._refill()
        await worker.wait_gone()
        self._workers.pop(worker.id, None)
        if worker in self._idle:
            self._idle.remove(worker)
            self._refill()

    def _on_ready(self, worker: Worker) -> None:
        if self._closing:
            worker.retire()
            return
        self._start_hold.resume()  # it may have been suspended just after it reported that it is ready
        self._put_idle(worker)
        for old in [old for old in self._idle if old is not worker and old.retire_due]:
            self._idle.remove(old)
            old.retire()

    def _start_failed(self) -> None:
        self.start_failures += 1
        self._last_start_succeeded = False
        if self._waiters:
            _reject(self._waiters.popleft())
        if self._restart_timer is None and not self._closing:
            pause_s = min(_MAX_RESTART_PAUSE_S, _RESTART_PAUSE_S * 2 ** min(self.start_failures, 10))
            self._restart_timer = asyncio.get_running_loop().call_later(pause_s, self._retry_start)

    def _retry_start(self) -> None:
        self._restart_timer = None
        self._refill()


def _reject(waiter: asyncio.Future[Worker]) -> None:
    if not waiter.done():
        waiter.set_exception(ProxyError(FailureKind.WORKER_UNAVAILABLE, "The gateway could not start a worker."))
