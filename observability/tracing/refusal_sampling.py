"""Keeps a flood of requests without a valid key from filling the disk with traces of them."""

import time
from collections.abc import Callable

from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

ROWS_PER_S = 10.0
BURST_ROWS = 5_000


class RefusalLimit:
    """Stands before the writer. Refusals of unknown callers above the limit get no row; metrics have them all."""

    def __init__(
        self,
        writer: Listener,
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
        """Passed on: what starts has a key."""
        self._writer.started(draft)

    def changed(self, draft: ActiveTrace) -> None:
        """Passed on."""
        self._writer.changed(draft)

    def stalled(self, draft: ActiveTrace) -> None:
        """Passed on."""
        self._writer.stalled(draft)

    def ended(self, draft: ActiveTrace) -> None:
        """Passed on, unless it is one refusal too many."""
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
