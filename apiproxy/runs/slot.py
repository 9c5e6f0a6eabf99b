"""Permission to run, and what its holder does with the processor meanwhile.

A run keeps a core busy until the upstream has been asked, again while much of an answer comes at once, and at the end,
when its worker is put in order. While the upstream thinks, or speaks as slowly as models do, it keeps none.
"""

import asyncio
import time
from typing import Protocol

AT_WORK_LIMIT_S = 0.25
"""How long a run counts as starting, or as at work without saying so again, at most: one that waits for a process must
not hold others up that have one."""
_ASKED_S = 0.015
"""What the CLI still does after it has said that it asks the upstream; an answer that is there by then follows."""
_EVENT_S = 0.0005
_BATCH_S = 0.010
"""What an event of an answer stands for, and at most all that came together: 20 a second are nothing, 2,000 are a core.

More than the CLI takes for it (about 0.1 ms), since a worker that has to wait for its core sends fewer.
"""


class Line(Protocol):
    """Who gave the slot, and wants to know what becomes of it."""

    def start_is_over(self) -> None:
        """The run has started, or will not."""

    def released(self, slot: "Slot", *, held_s: float) -> None:
        """The slot is free again after so many seconds."""


class Slot:
    """Permission to run, until `release`. Counts as starting until `started`, for `AT_WORK_LIMIT_S` at most."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop, *, key: int | None = None) -> None:
        self.key = key
        self._line = line
        self._since = time.monotonic()
        self._held = True
        self._started = False
        self._starting = loop.call_later(AT_WORK_LIMIT_S, self._start_is_over)
        self.at_work_until = self._since + AT_WORK_LIMIT_S
        """When the run is probably done with the processor for now, by `time.monotonic`."""
        self.failed = False
        """Whether the run's last attempt has failed, for whatever reason."""

    def started(self) -> None:
        """The upstream has been asked: the next may start. Further calls are for further attempts."""
        self.at_work_until = time.monotonic() + _ASKED_S
        self._starting.cancel()
        self._start_is_over()

    def streamed(self, events: int) -> None:
        """So many events of the answer came together."""
        now = time.monotonic()
        until = min(max(now, self.at_work_until) + events * _EVENT_S, now + _BATCH_S)
        self.at_work_until = max(self.at_work_until, until)  # a batch never takes away what was there

    def at_work(self) -> None:
        """The run asks the upstream once more, or its worker is put in order."""
        self.at_work_until = time.monotonic() + AT_WORK_LIMIT_S

    def release(self) -> None:
        """Gives the slot to the next in line. Further calls do nothing."""
        if self._held:
            self._held = False
            self.started()
            self._line.released(self, held_s=time.monotonic() - self._since)

    def _start_is_over(self) -> None:
        if not self._started:
            self._started = True
            self._line.start_is_over()
