"""The runs of this process that hold a part of their key's limits."""

import time
from collections.abc import Callable, Iterable

UNSETTLED_S = 3_600.0
"""How long a run that has ended keeps its reservation while the database does not take its settlement."""


class OpenRuns:
    """Told by the event loop's thread, asked by the ledger's: each method is one step on a dict."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended: dict[str, float | None] = {}

    def __contains__(self, run_id: str) -> bool:
        """Whether it goes on."""
        return self._ended.get(run_id, 0.0) is None

    def begin(self, run_id: str) -> None:
        """It has a reservation."""
        self._ended[run_id] = None

    def end(self, run_id: str) -> None:
        """It has ended, and is to be settled."""
        self._ended[run_id] = self._clock()

    def forget(self, run_ids: Iterable[str]) -> None:
        """They hold nothing any more."""
        for run_id in run_ids:
            self._ended.pop(run_id, None)

    def holds(self, run_id: str) -> bool:
        """Whether the reservation is to be kept. One whose settlement was lost is kept for UNSETTLED_S."""
        ended = self._ended.get(run_id, 0.0)
        if ended is None:
            return True
        if self._clock() - ended < UNSETTLED_S and run_id in self._ended:
            return True
        self._ended.pop(run_id, None)
        return False
