"""The pool of warm workers: ready ahead of need, never more busy than slots, successors before retirements.

One pool serves every model, because the overlay sets the model of each request (docs/decisions/0005-one-pool.md).
"""

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.engines.base import EngineRequest, WorkerSnapshot
from apiproxy.engines.sdk.launch import LaunchSpec
from apiproxy.engines.sdk.start_hold import StartHold
from apiproxy.engines.sdk.turn import WorkerAnswer
from apiproxy.engines.sdk.worker import START_TIMEOUT_S, Worker, WorkerState

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 8.0
_RESTART_PAUSE_S = 0.5
_MAX_RESTART_PAUSE_S = 10.0
"""Between attempts to start a worker when nobody asks for one: the first pause, doubled each time, up to this."""
_RSS_CHECK_TURNS = 10
_RSS_CHECK_BODY_BYTES = 1024 * 1024
"""A worker's memory is looked at after so many turns, and after each whose body was so large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """max_busy: runs at once (the slots). spares: workers kept ready ahead. Retirement: turns, resident bytes."""

    max_busy: int
    spares: int
    max_turns: int
    max_rss_bytes: int


class Pool:
    """The `engines.base.Engine` of production. Lives on one event loop."""

    def __init__(self, *, spec: LaunchSpec, limits: PoolLimits) -> None:
        self._spec = spec
        self._limits = limits
        self._workers: dict[str, Worker] = {}
        self._idle: list[Worker] = []
        self._starting = 0
        self._busy = 0
        self._waiters: deque[asyncio.Future[Worker]] = deque()
        self._keepers: set[asyncio.Task[None]] = set()
        self._closing = False
        self._restart: asyncio.TimerHandle | None = None
        self._hold = StartHold()
        self._proven = False
        self.start_failures = 0

    async def begin(self, request: EngineRequest) -> WorkerAnswer:
        """Hands the request to a worker; waits for one to start where none is ready."""
        if not self._idle:  # this one will be long in starting, and not for want of a core alone
            request.on_waiting()
        worker = await self._lease()
        if not self._waiters:
            self._hold.hold(self._workers.values())
        worker.run_id, worker.serving, worker.body_bytes = request.run_id, request.model, request.body_bytes
        answer = WorkerAnswer(worker, request, self._give_back)
        try:
            if not request.may_begin():
                raise ProxyError(FailureKind.CANCELLED, "The request was cancelled.")
            await answer.start()
        except ProxyError:
            self._give_back(worker, usable=True)
            raise
        except BaseException:  # whatever it is, nobody will settle this answer
            self._give_back(worker, usable=False)
            raise
        return answer

    async def warm(self, *, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Starts the spares and waits until one is ready; False when none is in time."""
        self._refill()
        try:
            async with asyncio.timeout(timeout_s):
                worker = await self._lease()
        except (TimeoutError, ProxyError):
            return False
        worker.turns -= 1
        self._give_back(worker, usable=True)
        return True

    @property
    def ready(self) -> bool:
        """Whether a worker is ready or busy, or the last one that was started came up."""
        return self._proven or any(
            worker.state in (WorkerState.IDLE, WorkerState.BUSY) for worker in self._workers.values()
        )

    def snapshot(self) -> list[WorkerSnapshot]:
        """Every process of the pool; a system call each, for its memory."""
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
        """An operator's retire button: an idle worker goes now, a busy one after its turn. False: no such worker."""
        worker = self._workers.get(worker_id)
        if worker is None or worker.state not in (WorkerState.IDLE, WorkerState.BUSY):
            return False
        worker.worn_out = True
        if worker in self._idle:
            self._idle.remove(worker)
            worker.retire()
            self._refill()
        return True

    async def close(self) -> None:
        """Ends every worker and waits until the processes are gone, at most `_CLOSE_TIMEOUT_S`."""
        self._closing = True
        if self._restart is not None:
            self._restart.cancel()
        self._hold.let_go()
        while self._waiters:
            _refuse(self._waiters.popleft())
        for worker in self._workers.values():
            worker.retire()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=_CLOSE_TIMEOUT_S)
        for worker in self._workers.values():
            worker.transport.kill()

    async def _lease(self) -> Worker:
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
        self._hold.let_go()
        self._refill()
        try:
            await asyncio.wait((waiter,), timeout=START_TIMEOUT_S)
            if not waiter.done():
                raise ProxyError(FailureKind.WORKER_UNAVAILABLE, "No worker became ready in time.")
            return waiter.result()
        except asyncio.CancelledError:
            if waiter.done() and waiter.exception() is None:
                self._shelve(waiter.result())
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _give_back(self, worker: Worker, usable: bool) -> None:
        self._busy -= 1
        worker.run_id = worker.serving = None
        if not usable or self._closing or not worker.alive:
            worker.retire()
        elif not self._worn_out(worker):
            self._shelve(worker)
        elif self._idle:
            worker.retire()
        else:  # stays in use until its successor is ready
            self._shelve(worker)
            if not self._starting:
                self._start()
        self._refill()

    def _worn_out(self, worker: Worker) -> bool:
        """Whether it must go; once it must, it stays so, for it may have to wait for its successor."""
        due = worker.turns % _RSS_CHECK_TURNS == 0 or worker.body_bytes > _RSS_CHECK_BODY_BYTES
        heavy = due and worker.rss_bytes() > self._limits.max_rss_bytes
        worker.worn_out = worker.worn_out or heavy or worker.turns >= worker.max_turns
        return worker.worn_out

    def _shelve(self, worker: Worker) -> None:
        worker.state = WorkerState.IDLE
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    def _refill(self) -> None:
        """Starts what is missing: a worker for everyone who waits, and the spares as far as slots could use them.

        Spares one by one: a start takes a core for half a second, and runs need it.
        """
        if self._closing:
            return
        spares = min(self._limits.spares, self._limits.max_busy - self._busy)
        wanted = max(len(self._waiters), 1 if len(self._waiters) + spares > len(self._idle) else 0)
        while self._starting < wanted and self._start():
            pass

    def _start(self) -> bool:
        try:
            worker = Worker(spec=self._spec, max_turns=self._turns_of_a_life())
        except OSError as error:  # the state folder: disk full, no permission
            logger.error("worker.folder_failed", extra={"error": repr(error)})
            self._start_failed()
            return False
        self._starting += 1
        self._workers[worker.id] = worker
        keeper = asyncio.create_task(self._keep(worker), name=f"keeper {worker.id}")
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)
        return True

    def _turns_of_a_life(self) -> int:
        """Up to a tenth less than the limit: those that started together must not all be replaced together."""
        most = self._limits.max_turns
        return most - random.randrange(most // 10 + 1)  # noqa: S311 — no secret

    async def _keep(self, worker: Worker) -> None:
        """Follows a worker from its start to its end."""
        try:
            await worker.ready()
        except ProxyError:
            self._starting -= 1
            self._start_failed()
        else:
            self._starting -= 1
            self.start_failures = 0
            self._proven = True
            self._welcome(worker)
            self._refill()
        await worker.gone()
        self._workers.pop(worker.id, None)
        if worker in self._idle:
            self._idle.remove(worker)
            self._refill()

    def _welcome(self, worker: Worker) -> None:
        if self._closing:
            worker.retire()
            return
        self._shelve(worker)
        for old in [old for old in self._idle if old is not worker and old.worn_out]:
            self._idle.remove(old)
            old.retire()

    def _start_failed(self) -> None:
        self.start_failures += 1
        self._proven = False
        if self._waiters:
            _refuse(self._waiters.popleft())
        if self._restart is None and not self._closing:
            pause_s = min(_MAX_RESTART_PAUSE_S, _RESTART_PAUSE_S * 2 ** min(self.start_failures, 10))
            self._restart = asyncio.get_running_loop().call_later(pause_s, self._start_again)

    def _start_again(self) -> None:
        self._restart = None
        self._refill()


def _refuse(waiter: asyncio.Future[Worker]) -> None:
    if not waiter.done():
        waiter.set_exception(ProxyError(FailureKind.WORKER_UNAVAILABLE, "The gateway could not start a worker."))
