"""Runs of this process that have a reservation."""

import time
from collections.abc import Callable, Iterable

UNSETTLED_S = 3_600.0
"""Time for which an ended run keeps its reservation while it cannot be settled."""


class OpenRuns:
    """Shared by the event loop and the ledger; each method is one atomic operation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended: dict[str, float | None] = {}

    def __contains__(self, run_id: str) -> bool:
        """True if the run has a reservation and has not ended."""
        return self._ended.get(run_id, 0.0) is None

    def begin(self, run_id: str) -> None:
        self._ended[run_id] = None

    def end(self, run_id: str) -> None:
        self._ended[run_id] = self._clock()

    def forget(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            self._ended.pop(run_id, None)

    def holds(self, run_id: str) -> bool:
        """True if to renew the reservation: while the run lasts, and UNSETTLED_S after its end."""
        ended = self._ended.get(run_id, 0.0)
        if ended is None:
            return True
        if self._clock() - ended < UNSETTLED_S and run_id in self._ended:
            return True
        self._ended.pop(run_id, None)
        return False
