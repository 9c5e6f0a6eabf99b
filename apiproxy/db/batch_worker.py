"""Background thread that runs database jobs in batched transactions.

- `submit` and `call` return at once and may be called from any thread; the queue is bounded.
- Jobs run in order, those pending together in one transaction. A job that cannot run yet (LATER, e.g. a locked row) is
  retried and does not delay the others.
- While the database is unavailable the batch is retried. A job that fails otherwise does not affect the others.
- Failures are returned to the caller of `call`, or counted in `dropped` and logged.
"""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from django.db import connections

from apiproxy.db.connections import DATABASE_ERRORS, release_connection
from apiproxy.db.jobs import LATER, ListQueue, PendingJob, PendingQueue, RetryQueue
from apiproxy.db.worker_log import WorkerLog

MAX_PENDING = 10_000
MAX_BATCH = 200
LINGER_S = 0.1
"""Maximum wait of a job that is not urgent, for others to share its transaction."""
TICK_S = 60.0
RETRY_S = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Pauses between attempts while the database is unavailable; the last one repeats."""

_J = TypeVar("_J")


class BatchQueueFullError(Exception):
    """The worker's queue is full."""


class Handler(ABC, Generic[_J]):
    """Database work of a `BatchWorker`. All methods are called from its thread."""

    @abstractmethod
    def do(self, jobs: Sequence[_J]) -> Sequence[Any]:
        """Run all of the jobs or none, except those answered LATER; return one result per job.

        Raises one of DATABASE_ERRORS if a retry may help.
        """

    def open(self) -> None:
        """Called before the first batch of a thread. May raise; it is then retried."""

    def tick(self) -> None:
        """Called every `tick_s`, with or without jobs. May raise."""

    def finished(self, jobs: Sequence[_J]) -> None:
        """Called once the jobs are done or given up. Must not raise."""


class BatchWorker(Generic[_J]):
    """Bounded queue and its thread. `autostart`: the first job starts the thread."""

    def __init__(
        self,
        name: str,
        handler: Handler[_J],
        *,
        tick_s: float = TICK_S,
        max_pending: int = MAX_PENDING,
        max_batch: int = MAX_BATCH,
        linger_s: float = LINGER_S,
        queue: PendingQueue[_J] | None = None,
        log: WorkerLog | None = None,
        autostart: bool = True,
    ) -> None:
        self._name = name
        self._handler = handler
        self._tick_s = tick_s
        self._max_pending = max_pending
        self._max_batch = max_batch
        self._linger_s = linger_s
        self._log = log or WorkerLog(name)
        self._autostart = autostart
        self._changed = threading.Condition()
        self._pending: PendingQueue[_J] = ListQueue() if queue is None else queue
        self._retries: RetryQueue[_J] = RetryQueue()
        self._in_flight = 0
        self._oldest_at: float | None = None
        self._urgent = False
        self._stopping = threading.Event()
        self._stop_at = 0.0
        self._thread: threading.Thread | None = None
        self._ticked_at = 0.0
        self.dropped = 0
        self.failing = False
        """The database is unavailable; the last batch is being retried."""

    def start(self) -> None:
        """Start the thread, unless it is running."""
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def submit(self, job: _J, *, urgent: bool = False, max_pending: int | None = None) -> bool:
        """Queue a job without waiting for its result; False if the queue is full and the job was dropped.

        max_pending: a lower limit than the worker's, for jobs that matter less.
        """
        try:
            self._add(PendingJob(job), urgent=urgent, max_pending=max_pending)
        except BatchQueueFullError:
            self._drop(1, "queue full")
            return False
        return True

    def call(self, job: _J, *, urgent: bool = True, timeout_s: float = math.inf) -> Future[Any]:
        """Queue a job and return the future of its result. Raises BatchQueueFullError.

        The future fails with JobTimeoutError if the job is still answered LATER after `timeout_s`.
        """
        future: Future[Any] = Future()
        self._add(PendingJob(job, future, time.monotonic() + timeout_s), urgent=urgent)
        return future

    @property
    def pending(self) -> int:
        """Number of jobs not done yet."""
        with self._changed:
            return len(self._pending) + self._in_flight + len(self._retries)

    @property
    def behind_s(self) -> float:
        """Seconds since the oldest pending job was queued; 0 if there is none."""
        oldest = self._oldest_at
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all jobs queued so far are done; False on timeout. Blocks."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: not self._pending and not self._in_flight and not self._retries, timeout_s
            )

    def stop(self, timeout_s: float) -> int:
        """Run the remaining jobs within `timeout_s` and end the thread.

        Returns the number of lost jobs. Blocks.
        """
        with self._changed:
            thread = self._thread
            self._stop_at = time.monotonic() + timeout_s
            self._stopping.set()
            self._changed.notify_all()
        if thread is not None and thread.is_alive():
            thread.join(timeout_s + 1.0)
        with self._changed:
            lost = [*self._retries.take_all(), *self._pending.take()]
            count = len(lost) + self._in_flight  # in flight: the thread hangs in a query
        for pending in lost:
            if pending.future is not None:
                pending.future.cancel()
        self._drop(count, "gateway stopped")
        return count

    def _add(self, pending: PendingJob[_J], *, urgent: bool, max_pending: int | None = None) -> None:
        if self._autostart:
            self.start()
        with self._changed:
            size, limit = len(self._pending), self._max_pending if max_pending is None else max_pending
            if size + len(self._retries) >= limit and not self._pending.replaces(pending.job):
                raise BatchQueueFullError
            self._pending.add(pending)
            self._urgent = self._urgent or urgent
            if self._oldest_at is None:
                self._oldest_at = time.monotonic()
            if urgent or size == 0:  # else the thread is lingering or busy: do not wake it for every job
                self._changed.notify_all()

    def _run(self) -> None:
        opened = self._safely(self._handler.open)  # at once, not with the first job
        while True:
            batch = self._next_batch()
            opened = opened or self._safely(self._handler.open)
            if batch:
                self._do(batch)
                self._batch_done()
            del batch  # else its jobs stay in memory until the next one
            if time.monotonic() - self._ticked_at >= self._tick_s:
                self._ticked_at = time.monotonic()
                self._safely(self._handler.tick)
            release_connection()
            with self._changed:
                may_retry = bool(self._retries) and time.monotonic() < self._stop_at
                if self._stopping.is_set() and not self._pending and not may_retry:
                    break
        connections.close_all()

    def _next_batch(self) -> list[PendingJob[_J]]:
        with self._changed:
            self._changed.wait_for(
                lambda: bool(self._pending) or self._stopping.is_set(), self._retries.wait_s(self._tick_s)
            )
            if self._pending:
                self._changed.wait_for(lambda: self._urgent or self._stopping.is_set(), self._linger_s)
            elif self._stopping.is_set():
                self._changed.wait(self._retries.wait_s(0.0 if not self._retries else self._tick_s))
            batch = self._retries.take_due(self._max_batch) + self._pending.take(self._max_batch)
            self._urgent = self._urgent and bool(self._pending)
            self._in_flight = len(batch)
            return batch

    def _batch_done(self) -> None:
        with self._changed:
            self._in_flight = 0
            self._oldest_at = time.monotonic() if self._pending or self._retries else None
            self._changed.notify_all()

    def _do(self, batch: Sequence[PendingJob[_J]]) -> None:
        tries = 0
        while True:
            try:
                results = self._handler.do([pending.job for pending in batch])
            except DATABASE_ERRORS as error:
                self.failing = True
                self._log.delayed(error, self.pending)
                if not self._wait_for_retry(tries):
                    self._fail(batch, error, "gateway stopped")
                    return
                tries += 1
            except Exception as error:  # noqa: BLE001 — one bad job must not stop the others
                self._do_one_by_one(batch, error)
                return
            else:
                self._resolve(batch, results)
                return

    def _resolve(self, batch: Sequence[PendingJob[_J]], results: Sequence[Any]) -> None:
        if self.failing:
            self.failing = False
            self._log.recovered(self.dropped)
        done = []
        for pending, result in zip(batch, results, strict=True):
            if result is LATER:
                with self._changed:
                    self._retries.add(pending)
            else:
                pending.resolve(result)
                done.append(pending.job)
        self._handler.finished(done)

    def _do_one_by_one(self, batch: Sequence[PendingJob[_J]], error: Exception) -> None:
        if len(batch) == 1:
            self._log.rejected(batch[0].job, error)
            self._fail(batch, error, type(error).__name__)
            return
        for pending in batch:
            self._do([pending])

    def _fail(self, batch: Sequence[PendingJob[_J]], error: Exception, why: str) -> None:
        without_caller = [pending for pending in batch if not pending.fail(error)]
        self._handler.finished([pending.job for pending in batch])
        self._drop(len(without_caller), why)

    def _safely(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except Exception as error:  # noqa: BLE001 — retried later; the jobs do not depend on it
            self._log.delayed(error, self.pending)
            connections.close_all()
            return False
        return True

    def _wait_for_retry(self, tries: int) -> bool:
        """Pause before the next attempt; False if the worker stops before it."""
        connections.close_all()  # only this thread's: a broken connection is of no use
        if not self._stopping.wait(RETRY_S[min(tries, len(RETRY_S) - 1)]):
            return True
        left_s = self._stop_at - time.monotonic()
        if left_s > 0:
            time.sleep(min(left_s, RETRY_S[0]))
        return left_s > 0

    def _drop(self, count: int, why: str) -> None:
        if count:
            self.dropped += count
            self._log.dropped(count, self.dropped, why)
