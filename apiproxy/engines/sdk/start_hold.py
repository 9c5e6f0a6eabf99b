"""Suspends starting workers while a run begins, because both need the same cores.

A start takes about half a second of a core; a run needs 20–30 ms until its upstream request is sent.
"""

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress

from apiproxy.engines.sdk.worker import Worker, WorkerState

HOLD_S = 0.1
"""Time for which starts are paused after a run begins."""
_MAX_SUSPENDED_S = 1.0
"""Upper bound on how long one start is suspended in total."""


class StartHold:
    """Suspends starting workers (SIGSTOP) and resumes them after `HOLD_S`. All calls on the loop's thread."""

    def __init__(self) -> None:
        self._held: set[Worker] = set()
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, workers: Iterable[Worker]) -> None:
        """Suspend the starting ones of these workers, except those at the upper bound."""
        more = [
            worker
            for worker in workers
            if worker.state is WorkerState.STARTING and worker.suspended_s < _MAX_SUSPENDED_S
        ]
        for worker in more:
            worker.suspended_s += HOLD_S
            _signal(worker, signal.SIGSTOP)
            self._held.add(worker)
        if more:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(HOLD_S, self.resume)

    def resume(self) -> None:
        """Resume all of them now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._held:
            _signal(self._held.pop(), signal.SIGCONT)


def _signal(worker: Worker, number: signal.Signals) -> None:
    if worker.pid:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, number)
