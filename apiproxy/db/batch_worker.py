"""A thread that does database work in batches, so that the event loop never waits for it.

Jobs are done in the order in which they came, as many as have come in one go: where a hundred wait, they share one
transaction. The queue is bounded; a job that cannot be done is told to whoever asked, or counted and logged. A job that
has to wait for something of its own (a locked row) is put aside and tried again, while the others go on.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from django.db import InterfaceError, OperationalError, connections

from apiproxy.db.jobs import LATER, Aside, Waiting

logger = logging.getLogger(__name__)

MAX_PENDING = 10_000
MAX_BATCH = 200
LINGER_S = 0.1
"""How long a job that nobody waits for may wait for others."""

_RETRY_S = (0.05, 0.2, 0.5, 1.0, 2.0)
_COMPLAIN_S = 60.0

JobT = TypeVar("JobT", contravariant=True)
_J = TypeVar("_J")


class DeskFullError(Exception):
    """Too much is waiting."""


class Work(Protocol[JobT]):
    """What a desk does. All calls come from its thread."""

    def open(self) -> None:
        """Before the first batch of a thread. May raise what `do` may."""
        ...

    def do(self, jobs: Sequence[JobT]) -> Sequence[Any]:
        """Does all of the jobs or none, except those whose answer is LATER; one answer for each.

        Raises OperationalError or InterfaceError where another try may help.
        """
        ...

    def tick(self) -> None:
        """Now and then, whether there are jobs or not. May raise what `do` may."""
        ...


class BatchWorker(Generic[_J]):
    """A bounded queue and the thread that empties it, started by the first job. Jobs may come from any thread."""

    def __init__(
        self, name: str, work: Work[_J], *, tick_s: float, max_pending: int = MAX_PENDING, linger_s: float = LINGER_S
    ) -> None:
        self._name = name
        self._work = work
        self._tick_s = tick_s
        self._max_pending = max_pending
        self._linger_s = linger_s
        self._changed = threading.Condition()
        self._pending: list[Waiting[_J]] = []
        self._aside: Aside[_J] = Aside()
        self._in_flight = 0
        self._urgent = False
        self._stopping = threading.Event()
        self._stop_at = 0.0
        self._thread: threading.Thread | None = None
        self._ticked_at = 0.0
        self._complained_at = -_COMPLAIN_S
        self.dropped = 0
        self.failing = False
        """Whether the database did not take the last batch, which is tried again."""

    def start(self) -> None:
        """Starts the thread where there is none."""
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def put(self, job: _J, *, urgent: bool = False) -> None:
        """Leaves a job. Returns at once; where too much is waiting, the job is dropped and that is logged."""
        try:
            self._add(job, None, urgent=urgent)
        except DeskFullError:
            self._drop(1, "the queue is full")

    def ask(self, job: _J, *, urgent: bool = True, patience_s: float = math.inf) -> Future[Any]:
        """Leaves a job and gives its answer to come; DeskTimeoutError if it is put aside for so long.

        Raises DeskFullError.
        """
        future: Future[Any] = Future()
        self._add(job, future, urgent=urgent, give_up_at=time.monotonic() + patience_s)
        return future

    @property
    def pending(self) -> int:
        """Jobs that are not done yet."""
        with self._changed:
            return len(self._pending) + self._in_flight + len(self._aside)

    def flush(self, timeout_s: float) -> bool:
        """Waits until all that was left so far is done; False where that took too long. Blocks."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: not self._pending and not self._in_flight and not self._aside, timeout_s
            )

    def stop(self, timeout_s: float) -> int:
        """Does what is left, for at most that long, and ends the thread; the number of jobs lost. Blocks."""
        with self._changed:
            thread = self._thread
            self._stop_at = time.monotonic() + timeout_s
            self._stopping.set()
            self._changed.notify_all()
        if thread is not None and thread.is_alive():
            thread.join(timeout_s + 1.0)
        with self._changed:
            lost = [*self._aside.clear(), *self._pending]
            self._pending = []
        for waiting in lost:
            if waiting.future is not None:
                waiting.future.cancel()
        if lost:
            self._drop(len(lost), "the gateway stopped before it was done")
        return len(lost)

    def _add(self, job: _J, future: Future[Any] | None, *, urgent: bool, give_up_at: float = math.inf) -> None:
        self.start()
        with self._changed:
            if len(self._pending) + len(self._aside) >= self._max_pending:
                raise DeskFullError
            self._pending.append(Waiting(job, future, give_up_at))
            self._urgent = self._urgent or urgent
            self._changed.notify_all()

    def _run(self) -> None:
        opened = self._safely(self._work.open)  # at once, not with the first job
        while True:
            batch = self._next_batch()
            opened = opened or self._safely(self._work.open)
            if batch:
                self._do(batch)
                with self._changed:
                    self._in_flight = 0
                    self._changed.notify_all()
            if time.monotonic() - self._ticked_at >= self._tick_s:
                self._ticked_at = time.monotonic()
                self._safely(self._work.tick)
            _release_connection()
            with self._changed:
                if (
                    self._stopping.is_set()
                    and not self._pending
                    and not (self._aside and time.monotonic() < self._stop_at)
                ):
                    break
        connections.close_all()

    def _next_batch(self) -> list[Waiting[_J]]:
        with self._changed:
            self._changed.wait_for(
                lambda: bool(self._pending) or self._stopping.is_set(), self._aside.wait_s(self._tick_s)
            )
            if self._pending:
                self._changed.wait_for(lambda: self._urgent or self._stopping.is_set(), self._linger_s)
            elif self._stopping.is_set():
                self._changed.wait(self._aside.wait_s(0.0 if not self._aside else self._tick_s))
            batch = self._aside.due(MAX_BATCH) + self._pending[:MAX_BATCH]
            self._pending = self._pending[MAX_BATCH:]
            self._urgent = self._urgent and bool(self._pending)
            self._in_flight = len(batch)
            return batch

    def _do(self, batch: Sequence[Waiting[_J]]) -> None:
        tries = 0
        while True:
            try:
                answers = self._work.do([waiting.job for waiting in batch])
            except (OperationalError, InterfaceError) as error:  # locked, full, gone: another time
                self.failing = True
                self._complain(error)
                if not self._wait_for_retry(tries):
                    self._fail(batch, error)
                    return
                tries += 1
            except Exception as error:  # noqa: BLE001 — one bad job, whatever is wrong with it, must not stop the others
                self._do_apart(batch, error)
                return
            else:
                self.failing = False
                self._answer(batch, answers)
                return

    def _answer(self, batch: Sequence[Waiting[_J]], answers: Sequence[Any]) -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            if answer is LATER:
                with self._changed:
                    self._aside.put(waiting)
            else:
                waiting.answer(answer)

    def _do_apart(self, batch: Sequence[Waiting[_J]], error: Exception) -> None:
        if len(batch) == 1:
            logger.error("desk.failed", extra={"desk": self._name, "job": type(batch[0].job).__name__}, exc_info=error)
            self._fail(batch, error)
            return
        for waiting in batch:
            self._do([waiting])

    def _fail(self, batch: Sequence[Waiting[_J]], error: Exception) -> None:
        unheard = [waiting for waiting in batch if not waiting.fail(error)]
        self._drop(len(unheard), type(error).__name__)

    def _safely(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except Exception as error:  # noqa: BLE001 — it is tried again later; the jobs do not depend on it
            self._complain(error)
            connections.close_all()
            return False
        return True

    def _wait_for_retry(self, tries: int) -> bool:
        connections.close_all()  # the thread's own: one that broke is of no use
        if not self._stopping.wait(_RETRY_S[min(tries, len(_RETRY_S) - 1)]):
            return True
        left_s = self._stop_at - time.monotonic()
        if left_s > 0:
            time.sleep(min(left_s, _RETRY_S[0]))
        return left_s > 0

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained_at >= _COMPLAIN_S:
            self._complained_at = time.monotonic()
            logger.warning("desk.delayed", extra={"desk": self._name, "pending": self.pending}, exc_info=error)

    def _drop(self, count: int, why: str) -> None:
        if count:
            self.dropped += count
            logger.error("desk.dropped", extra={"desk": self._name, "count": count, "total": self.dropped, "why": why})


def _release_connection() -> None:
    """Gives a pooled connection back; one to an SQLite file stays open, since opening costs more than a write."""
    connection = connections["default"]
    if connection.vendor != "sqlite":
        connection.close()
