"""An upstream that is down is not asked for a while: requests are refused at once instead of failing one by one.

`Breaker` is the state machine, without I/O and with the clock given; `Guarded` puts it before an engine.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from apiproxy.engine.base import Answer, Broken, Engine, EngineRequest, Outcome, Stopped
from apiproxy.errors import FailureKind, ProxyError
from apiproxy.events import StreamEvent

logger = logging.getLogger(__name__)

_ANY_SERVER_ERROR = 500


class BreakerState(StrEnum):
    """closed: requests pass. open: none does. probing: one does, and its outcome decides."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """failures: so many in a row within window_s seconds open it, 0: never. open_s: how long until one may try."""

    failures: int
    window_s: float
    open_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """What operators see. failures: in a row so far; opened: how often it has opened since the start."""

    state: BreakerState
    failures: int
    opened: int
    retry_after_s: float


class Breaker:
    """Counts what came of the attempts of one process. clock gives seconds that nobody sets back."""

    def __init__(self, limits: BreakerLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._failed_at: deque[float] = deque(maxlen=max(1, limits.failures))
        self._open_until: float | None = None
        self._probes = False
        self._opened = 0

    def snapshot(self) -> BreakerSnapshot:
        """How it stands."""
        return BreakerSnapshot(
            state=self._state(), failures=len(self._failed_at), opened=self._opened, retry_after_s=self._wait_s()
        )

    def check(self) -> None:
        """Raises ProxyError(UPSTREAM_DOWN) where an attempt would be refused now; takes nothing."""
        if self._open_until is not None and (self._probes or self._wait_s() > 0):
            message = f"The upstream API has failed {len(self._failed_at)} times in a row and is not asked for a while."
            raise ProxyError(FailureKind.UPSTREAM_DOWN, message, retry_after_s=max(1, math.ceil(self._wait_s())))

    def enter(self) -> bool:
        """An attempt begins; whether it is the one that tries. To be followed by `leave`, in every case.

        Raises what `check` does.
        """
        self.check()
        self._probes = self._open_until is not None
        return self._probes

    def leave(self, *, probe: bool, failed: bool | None) -> None:
        """An attempt is over. failed None: it says nothing about the upstream (the client left, the worker died)."""
        self._probes = self._probes and not probe
        if failed is None or (self._open_until is not None and not probe):
            return  # begun before it opened: what it found is old
        if failed:
            self._fail(probe)
        else:
            self._failed_at.clear()
            if self._open_until is not None:
                self._open_until = None
                logger.warning("upstream.back")

    def _fail(self, probe: bool) -> None:
        now = self._clock()
        self._failed_at.append(now)
        in_a_row = len(self._failed_at) == self._limits.failures
        if probe or (in_a_row and now - self._failed_at[0] <= self._limits.window_s):
            self._open_until = now + self._limits.open_s
            if not probe:
                self._opened += 1
                extra = {"failures": len(self._failed_at), "openS": self._limits.open_s}
                logger.error("upstream.down", extra=extra)

    def _state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.PROBING if self._probes else BreakerState.OPEN

    def _wait_s(self) -> float:
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())


class Guarded:
    """An `engine.base.Engine` that asks the breaker first, and tells it what became of each attempt."""

    def __init__(self, engine: Engine, breaker: Breaker) -> None:
        self._engine = engine
        self._breaker = breaker

    async def begin(self, request: EngineRequest) -> Answer:
        """As the engine's; raises ProxyError(UPSTREAM_DOWN) too."""
        probe = self._breaker.enter()
        try:
            return _Watched(await self._engine.begin(request), self._breaker, probe)
        except BaseException:  # whatever it was, it was not the upstream
            self._breaker.leave(probe=probe, failed=None)
            raise


class _Watched:
    """An `engine.base.Answer`: the engine's own, and what it tells of the upstream."""

    def __init__(self, answer: Answer, breaker: Breaker, probe: bool) -> None:
        self._answer = answer
        self._breaker = breaker
        self._probe = probe
        self._told = False

    @property
    def pid(self) -> int:
        return self._answer.pid

    @property
    def stderr_tail(self) -> str:
        return self._answer.stderr_tail

    @property
    def outcome(self) -> Outcome:
        return self._answer.outcome

    async def next_batch(self) -> Sequence[StreamEvent] | None:
        events = await self._answer.next_batch()
        if not self._told:
            self._tell(events)
        return events

    def stop(self) -> None:
        self._answer.stop()

    async def settle(self) -> None:
        try:
            await self._answer.settle()
        finally:
            if not self._told:  # whoever used it gave up before its first event
                self._breaker.leave(probe=self._probe, failed=None)

    def _tell(self, events: Sequence[StreamEvent] | None) -> None:
        self._told = True
        self._breaker.leave(probe=self._probe, failed=False if events else _is_down(self._answer.outcome))


def _is_down(outcome: Outcome) -> bool | None:
    """Whether an attempt without a single event says that the upstream is down; None: it says nothing.

    Its own refusals (4xx) say that it is there.
    """
    if isinstance(outcome, Stopped):
        return None
    if not isinstance(outcome, Broken):
        return False
    error = outcome.error
    if error.upstream is not None:
        return error.upstream.status >= _ANY_SERVER_ERROR
    return True if error.kind is FailureKind.CONNECTION_LOST else None
