"""A run slot: permission of one run to use the engine."""

import asyncio
import time
from typing import Protocol

from apiproxy.runs.cpu_pacing import BUSY_LIMIT_S, CpuUse

KeyId = int | None


class SlotOwner(Protocol):
    """The queue that a slot belongs to."""

    def on_released(self, slot: "Slot", *, held_s: float) -> None:
        """The slot is free after so many seconds."""
        ...

    def on_start_finished(self) -> None:
        """The run no longer counts as starting."""
        ...


class Slot:
    """Permission to run, until `release`. Counts as starting until `started`, for at most `BUSY_LIMIT_S`."""

    def __init__(self, owner: SlotOwner, loop: asyncio.AbstractEventLoop, *, key: KeyId) -> None:
        self.key = key
        self.failed = False  # whether the run's last attempt failed, for any reason
        self._owner = owner
        self._since = time.monotonic()
        self._held = True
        self._starting = True
        self._start_timer = loop.call_later(BUSY_LIMIT_S, self._start_finished)
        self._cpu = CpuUse(self._since)

    @property
    def busy_until(self) -> float:
        """Estimated end of the run's current CPU use, as `time.monotonic`."""
        return self._cpu.busy_until

    def started(self) -> None:
        """Let the next run start: the request has been sent, or waits for a worker. May be called again."""
        self._cpu.sent(time.monotonic())
        self._start_timer.cancel()
        self._start_finished()

    def streamed(self, events: int) -> None:
        """A batch of so many events of the answer has arrived."""
        self._cpu.streamed(time.monotonic(), events)

    def working(self) -> None:
        """The run starts another attempt, or its worker is being reset."""
        self._cpu.working(time.monotonic())

    def release(self) -> None:
        """Pass the slot on to the next request. Further calls do nothing."""
        if self._held:
            self._held = False
            self.started()
            self._owner.on_released(self, held_s=time.monotonic() - self._since)

    def _start_finished(self) -> None:
        if self._starting:
            self._starting = False
            self._owner.on_start_finished()
