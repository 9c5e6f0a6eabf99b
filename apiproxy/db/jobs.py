"""Queues of a batch worker: pending jobs, and jobs to retry later."""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

RETRY_DELAY_S = 0.1
"""Delay before a job answered LATER is retried."""

_J = TypeVar("_J")


class Later:
    """The type of LATER."""


LATER: Final = Later()
"""Result of a job that cannot run yet, e.g. because its row is locked.

It is retried without delaying other jobs."""


class JobTimeoutError(Exception):
    """The job was answered LATER until the caller's timeout."""


@dataclass(slots=True)
class PendingJob(Generic[_J]):
    """A job and the future of its caller, if any. Times are from `time.monotonic`."""

    job: _J
    future: Future[Any] | None = None
    expires_at: float = 0.0
    retry_at: float = 0.0

    def resolve(self, result: Any) -> None:
        if self.future is not None:
            try:
                self.future.set_result(result)
            except InvalidStateError:  # cancelled by the caller
                logger.debug("desk.unclaimed", extra={"job": type(self.job).__name__})

    def fail(self, error: Exception) -> bool:
        """Pass the error to the caller; False if the job has none."""
        if self.future is None:
            return False
        try:
            self.future.set_exception(error)
        except InvalidStateError:  # cancelled by the caller
            logger.debug("desk.unclaimed", extra={"job": type(self.job).__name__})
        return True


class PendingQueue(Protocol[_J]):
    """Jobs waiting for the next batch. Guarded by the worker's lock."""

    def __len__(self) -> int: ...

    def replaces(self, job: _J) -> bool:
        """True if the job takes the place of one in the queue, so that the queue does not grow."""
        ...

    def add(self, pending: PendingJob[_J]) -> None: ...

    def take(self, limit: int | None = None) -> list[PendingJob[_J]]:
        """Remove and return the oldest jobs, at most `limit`."""
        ...


class ListQueue(Generic[_J]):
    """First in, first out; every job is kept."""

    def __init__(self) -> None:
        self._jobs: list[PendingJob[_J]] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def replaces(self, job: _J) -> bool:
        return False

    def add(self, pending: PendingJob[_J]) -> None:
        self._jobs.append(pending)

    def take(self, limit: int | None = None) -> list[PendingJob[_J]]:
        taken = self._jobs[:limit]
        self._jobs = self._jobs[len(taken) :]
        return taken


class KeyedQueue(Generic[_J]):
    """First in, first out; a job replaces the pending one with its key.

    For `submit` only: the future of a replaced job would never be resolved.
    """

    def __init__(self, key: Callable[[_J], str]) -> None:
        self._key = key
        self._jobs: dict[str, PendingJob[_J]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def replaces(self, job: _J) -> bool:
        return self._key(job) in self._jobs

    def add(self, pending: PendingJob[_J]) -> None:
        self._jobs[self._key(pending.job)] = pending

    def take(self, limit: int | None = None) -> list[PendingJob[_J]]:
        return [self._jobs.pop(key) for key in list(self._jobs)[:limit]]


class RetryQueue(Generic[_J]):
    """Jobs answered LATER, by next attempt. Guarded by the worker's lock."""

    def __init__(self) -> None:
        self._jobs: deque[PendingJob[_J]] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, pending: PendingJob[_J]) -> None:
        pending.retry_at = time.monotonic() + RETRY_DELAY_S
        self._jobs.append(pending)

    def wait_s(self, limit_s: float) -> float:
        """Seconds until the next attempt, at most `limit_s`."""
        return min(limit_s, max(0.0, self._jobs[0].retry_at - time.monotonic())) if self._jobs else limit_s

    def take_due(self, limit: int) -> list[PendingJob[_J]]:
        """Remove and return the jobs to retry now, at most `limit`. Jobs whose caller timed out fail here."""
        now, due = time.monotonic(), list[PendingJob[_J]]()
        while self._jobs and self._jobs[0].retry_at <= now and len(due) < limit:
            pending = self._jobs.popleft()
            if pending.future is None or now < pending.expires_at:
                due.append(pending)
            else:
                pending.fail(JobTimeoutError())
        return due

    def take_all(self) -> list[PendingJob[_J]]:
        taken, self._jobs = list(self._jobs), deque()
        return taken
