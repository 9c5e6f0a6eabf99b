"""CPU pacing: estimates which runs keep a core busy, and limits how many may. Pure.

A run keeps a core busy for 20–30 ms until its request is sent upstream, again while many events arrive at once, and at
the end while its worker is reset. More busy runs than cores only slow each other down, so further runs wait in the
queue, where priorities apply, and not on a worker. Whether a run is busy is estimated from its own events, without a
look at processes. docs/decisions/0009-what-load-does.md has the measurements and the way back: with `max_starting` at
the number of slots or above, nothing is paced. All times are seconds of `time.monotonic`.
"""

import math

BUSY_LIMIT_S = 0.25
"""Upper bound on how long a run counts as starting or busy, so that one waiting for a worker does not block others."""
_SENT_S = 0.015
"""CPU time of the CLI after it has reported `requesting`; an answer that has arrived by then follows."""
_EVENT_S = 0.0005
_BATCH_S = 0.010
"""CPU time of one event, and the maximum for a batch: 20 events a second are negligible, 2,000 are a core.

More than the CLI needs (about 0.1 ms an event), since a worker that waits for its core sends fewer.
"""
_BUSY_PER_START = 2
_MAX_PAUSE_S = 0.25
"""After this long without a start the next run starts, however many are busy."""


class CpuUse:
    """Estimated CPU use of one run."""

    __slots__ = ("busy_until",)

    def __init__(self, now: float) -> None:
        self.busy_until = now + BUSY_LIMIT_S

    def sent(self, now: float) -> None:
        """The request has been sent: little is left to do."""
        self.busy_until = now + _SENT_S

    def streamed(self, now: float, events: int) -> None:
        """A batch of events has arrived."""
        until = min(max(now, self.busy_until) + events * _EVENT_S, now + _BATCH_S)
        self.busy_until = max(self.busy_until, until)  # a batch never shortens the estimate

    def working(self, now: float) -> None:
        """The run starts another attempt, or its worker is being reset."""
        self.busy_until = now + BUSY_LIMIT_S


class CpuPacer:
    """Limits of concurrently starting and of concurrently busy runs.

    Twice as many may be busy as may start, including the starting ones.
    """

    def __init__(self, *, max_starting: int) -> None:
        self.max_starting = max_starting
        self._max_busy = max_starting * _BUSY_PER_START
        self._starting = 0
        self._last_start = -math.inf

    @property
    def overdue_at(self) -> float:
        """Time when the next run may start even if too many are busy."""
        return self._last_start + _MAX_PAUSE_S

    def start(self, now: float) -> None:
        """Count a run as starting, until `start_finished`."""
        self._starting += 1
        self._last_start = now

    def start_finished(self) -> None:
        """Count one run less as starting."""
        self._starting -= 1

    def may_start(self, now: float, *, busy: int, own: int | None) -> bool:
        """True if a run may start while so many are busy.

        own: busy runs of its key; None where no other key competes. One busy place is left for other keys, and a key
        without a busy run takes it at once.
        """
        overdue = now - self._last_start >= _MAX_PAUSE_S
        if own is not None:
            if not own and busy <= self._max_busy:
                return True
            if own >= max(1, self._max_busy - 1) and not overdue:
                return False
        return self._starting < self.max_starting and (overdue or busy < self._max_busy)
