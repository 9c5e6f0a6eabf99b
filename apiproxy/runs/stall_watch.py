"""Watch for a run whose upstream has gone silent."""

import asyncio
import time
from collections.abc import Callable

from apiproxy.core.events import Step, StepKind


class StallWatch:
    """Time since the last progress of a run. A tool that an agent has called may take any time."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last_progress = time.monotonic()
        self._tools: set[str] = set()

    def progress(self) -> None:
        """Note that the run has moved on."""
        self._last_progress = time.monotonic()

    def on_step(self, step: Step) -> None:
        """Note a step of an agent that begins or ends."""
        self.progress()
        if step.kind is not StepKind.TOOL_CALL:
            return
        if step.ended_at is None:
            self._tools.add(step.id)
        else:
            self._tools.discard(step.id)

    async def watch(self, waiting: Callable[[], bool]) -> None:
        """Return once the upstream is silent for too long. waiting: True while its silence is no stall."""
        while True:
            idle_s = time.monotonic() - self._last_progress
            if not self._tools and not waiting() and idle_s >= self._limit_s:
                return
            await asyncio.sleep(max(self._limit_s - idle_s, self._limit_s / 10))
