"""Jobs that wait at a desk, and those put aside because they wait for something of their own (a locked row)."""

import logging
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

logger = logging.getLogger(__name__)

LATER_S = 0.1
"""How long a job that was put aside waits for its next try."""

_J = TypeVar("_J")


class Later:
    """The type of LATER."""


LATER: Final = Later()
"""The answer to a job that cannot be done now and holds up no other: it is tried again."""


class DeskTimeoutError(Exception):
    """The job was put aside again and again for as long as its asker wanted to wait."""


@dataclass(slots=True)
class Waiting(Generic[_J]):
    """A job and who waits for its answer. give_up_at and retry_at are by `time.monotonic`."""

    job: _J
    future: Future[Any] | None
    give_up_at: float
    retry_at: float = 0.0

    def answer(self, answer: Any) -> None:
        """Tells whoever asked."""
        if self.future is not None:
            try:
                self.future.set_result(answer)
            except InvalidStateError:
                logger.debug("desk.unclaimed", extra={"job": type(self.job).__name__})

    def fail(self, error: Exception) -> bool:
        """Tells whoever asked; False where nobody did."""
        if self.future is None:
            return False
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            logger.debug("desk.unclaimed", extra={"job": type(self.job).__name__})
        return True


class Aside(Generic[_J]):
    """The jobs put aside, in the order in which they are tried again. The desk's lock guards it."""

    def __init__(self) -> None:
        self._jobs: deque[Waiting[_J]] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, waiting: Waiting[_J]) -> None:
        """Puts one aside for LATER_S."""
        waiting.retry_at = time.monotonic() + LATER_S
        self._jobs.append(waiting)

    def wait_s(self, limit_s: float) -> float:
        """How long until the next is due, at most limit_s."""
        return min(limit_s, max(0.0, self._jobs[0].retry_at - time.monotonic())) if self._jobs else limit_s

    def due(self, most: int) -> list[Waiting[_J]]:
        """Takes out those to be tried now, at most so many; those that nobody waits for any longer end here."""
        now, found = time.monotonic(), list[Waiting[_J]]()
        while self._jobs and self._jobs[0].retry_at <= now and len(found) < most:
            waiting = self._jobs.popleft()
            if waiting.future is None or now < waiting.give_up_at:
                found.append(waiting)
            else:
                waiting.fail(DeskTimeoutError())
        return found

    def clear(self) -> list[Waiting[_J]]:
        """Takes all out."""
        left, self._jobs = list(self._jobs), deque()
        return left
