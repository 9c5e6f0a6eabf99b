"""Rate limit for traces of unauthenticated requests, else a flood of them fills the disk."""

import time
from collections.abc import Callable
from typing import Protocol

from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

ROWS_PER_S = 10.0
BURST_ROWS = 5_000


class TraceWriter(Protocol):
    """The listener methods of `Writer`."""

    def started(self, draft: ActiveTrace) -> None: ...

    def ended(self, draft: ActiveTrace) -> None: ...


class RefusalLimit(Listener):
    """Token bucket in front of the writer: excess refusals of unknown callers get no row. Metrics count all of them."""

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
        self._left = self._burst
        self._at = clock()
        self.left_out = 0

    def started(self, draft: ActiveTrace) -> None:
        self._writer.started(draft)

    def ended(self, draft: ActiveTrace) -> None:
        if draft.status is not Status.REFUSED or draft.turn.caller.key_id is not None or self._take():
            self._writer.ended(draft)
        else:
            self.left_out += 1

    def _take(self) -> bool:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rows_per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
