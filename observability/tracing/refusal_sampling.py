"""Rate limit for traces of unauthenticated requests, else a flood of them fills the disk."""

import time
from collections.abc import Callable
from typing import Protocol

from apiproxy.core.events import Step
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

ROWS_PER_S = 10.0
BURST_ROWS = 5_000


class TraceWriter(Protocol):
    """The listener methods of `Writer`."""

    def started(self, trace: ActiveTrace) -> None: ...

    def stepped(self, trace: ActiveTrace, step: Step) -> None: ...

    def ended(self, trace: ActiveTrace) -> None: ...


class RejectionSampler(Listener):
    """Token bucket in front of the writer.

    Excess rejections of unknown callers get no row. Metrics count all of them.
    """

    def __init__(
        self,
        writer: TraceWriter,
        *,
        rows_per_s: float = ROWS_PER_S,
        burst: int = BURST_ROWS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._rows_per_s = rows_per_s
        self._burst = float(burst)
        self._clock = clock
        self._tokens = self._burst
        self._refilled_at = clock()
        self.skipped = 0

    def started(self, trace: ActiveTrace) -> None:
        self._writer.started(trace)

    def stepped(self, trace: ActiveTrace, step: Step) -> None:
        self._writer.stepped(trace, step)

    def ended(self, trace: ActiveTrace) -> None:
        if trace.status is not Status.REFUSED or trace.turn.caller.key_id is not None or self._take_token():
            self._writer.ended(trace)
        else:
            self.skipped += 1

    def _take_token(self) -> bool:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled_at) * self._rows_per_s)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
