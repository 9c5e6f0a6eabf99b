"""Spare workers that are starting stand still while a run begins: both would need the same cores.

A start takes about half a second of a core, a run 20 to 30 ms until its upstream has been asked.
"""

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress

from apiproxy.engines.sdk.worker import Worker, WorkerState

HOLD_S = 0.1
"""How long starts stand still after each begin of a run."""
_MAX_HELD_S = 1.0
"""How long one start stands still altogether, at most."""


class StartHold:
    """Stops workers that are starting (SIGSTOP) and lets them go on after `HOLD_S`. All calls on the loop's thread."""

    def __init__(self) -> None:
        self._held: set[Worker] = set()
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, workers: Iterable[Worker]) -> None:
        """Stops those of the workers that are starting and have not been held for too long already."""
        more = [worker for worker in workers if worker.state is WorkerState.STARTING and worker.held_s < _MAX_HELD_S]
        for worker in more:
            worker.held_s += HOLD_S
            _signal(worker, signal.SIGSTOP)
            self._held.add(worker)
        if more:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(HOLD_S, self.let_go)

    def let_go(self) -> None:
        """Lets all of them go on now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._held:
            _signal(self._held.pop(), signal.SIGCONT)


def _signal(worker: Worker, number: signal.Signals) -> None:
    if worker.pid:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, number)
