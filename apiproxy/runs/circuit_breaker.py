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

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.engines.base import Answer, Broken, Engine, EngineRequest, Outcome, Stopped

logger = logging.getLogger(__name__)

_ANY_SERVER_ERROR = 500


class BreakerState(StrEnum):
    """closed: requests pass. open: refused, all or those of one key. probing: one of each key passes, and decides."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


KeyId = int | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt under way. request: the run's id, whose attempts count as one failure. probe: it was let through."""

    key: KeyId
    request: str
    since: float
    probe: bool


class Breaker:
    """Circuit breaker over the attempts of one process. clock: monotonic seconds.

    The failures of one key never refuse another's requests, as they may be of its own making: while all that failed are
    one key's, only that key is refused, and the first request of another decides, by its success or as the second key.
    A probe counts for as long as `open_s`; after that its key may send another.
    """

    def __init__(self, limits: BreakerLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._failed: deque[tuple[float, KeyId, str]] = deque(maxlen=max(1, limits.failures))
        self._opened_at = 0.0
        self._open_until: float | None = None
        self._keys: set[KeyId] = set()  # whose failures opened it
        self._probes: dict[KeyId, float] = {}
        self._opened = 0

    def snapshot(self) -> BreakerSnapshot:
        """How it stands."""
        return BreakerSnapshot(
            state=self._state(), failures=len(self._failed), opened=self._opened, retry_after_s=self._wait_s()
        )

    def check(self, key: KeyId = None) -> None:
        """Raises ProxyError(UPSTREAM_DOWN) where an attempt of this key would be refused now; takes nothing."""
        wait_s = self._refusal_s(key)
        if wait_s > 0:
            message = f"The upstream API has failed {len(self._failed)} times in a row and is not asked for a while."
            raise ProxyError(FailureKind.UPSTREAM_DOWN, message, retry_after_s=max(1, math.ceil(wait_s)))

    def enter(self, key: KeyId = None, *, request: str = "") -> Attempt:
        """Begins an attempt. To be followed by `leave`, in every case.

        Raises what `check` does, unless the request has failed before: its client gets that error, not a refusal.
        """
        if not self._has_failed(request):
            self.check(key)
        now = self._clock()
        probe = self._open_until is not None and now >= self._open_until
        if probe:
            self._probes[key] = now
        return Attempt(key=key, request=request, since=now, probe=probe)

    def leave(self, attempt: Attempt, *, failed: bool | None) -> None:
        """An attempt is over. failed None: it says nothing about the upstream (the client left, nothing was sent)."""
        if attempt.probe and self._probes.get(attempt.key) == attempt.since:
            del self._probes[attempt.key]
        if failed:
            self._fail(attempt)
        elif failed is False:
            self._failed.clear()
            if self._open_until is not None:
                self._open_until = None
                logger.warning("upstream.back")

    def _fail(self, attempt: Attempt) -> None:
        now = self._clock()
        if self._open_until is None:
            self._count(now, attempt)
        elif attempt.since < self._opened_at:
            return  # begun before it opened: it says nothing new
        elif now >= self._open_until:  # the first probe to fail: of its key alone, until another's fails too
            self._open(now, {attempt.key})
        elif attempt.key not in self._keys:
            self._open(now, self._keys | {attempt.key})

    def _count(self, now: float, attempt: Attempt) -> None:
        if self._has_failed(attempt.request):
            return
        self._failed.append((now, attempt.key, attempt.request))
        in_a_row = len(self._failed) == self._limits.failures
        if in_a_row and now - self._failed[0][0] <= self._limits.window_s:
            self._open(now, {key for _, key, _ in self._failed})
            self._opened += 1
            extra = {"failures": len(self._failed), "openS": self._limits.open_s, "keys": len(self._keys)}
            logger.error("upstream.down", extra=extra)

    def _has_failed(self, request: str) -> bool:
        """Whether an attempt of this request is among the failures."""
        return bool(request) and any(request == failed for _, _, failed in self._failed)

    def _open(self, now: float, keys: set[KeyId]) -> None:
        self._opened_at = now
        self._open_until = now + self._limits.open_s
        self._keys = keys

    def _refusal_s(self, key: KeyId) -> float:
        """For how long attempts of this key are refused; 0: they are not."""
        if self._open_until is None:
            return 0.0
        if self._wait_s() > 0:
            return self._wait_s() if len(self._keys) > 1 or key in self._keys else 0.0
        since = self._probes.get(key)
        return 0.0 if since is None else max(0.0, since + self._limits.open_s - self._clock())

    def _state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        probing = any(self._clock() < since + self._limits.open_s for since in self._probes.values())
        return BreakerState.PROBING if probing else BreakerState.OPEN

    def _wait_s(self) -> float:
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())


class Guarded:
    """An `engines.base.Engine` that asks the breaker first, and tells it what became of each attempt."""

    def __init__(self, engine: Engine, breaker: Breaker) -> None:
        self._engine = engine
        self._breaker = breaker

    async def begin(self, request: EngineRequest) -> Answer:
        """As the engine's; raises ProxyError(UPSTREAM_DOWN) too."""
        attempt = self._breaker.enter(request.key_id, request=request.run_id)
        try:
            return _Watched(await self._engine.begin(request), self._breaker, attempt)
        except BaseException:  # whatever it was, it was not the upstream
            self._breaker.leave(attempt, failed=None)
            raise


class _Watched:
    """An `engines.base.Answer`: the engine's own, and what it tells of the upstream."""

    def __init__(self, answer: Answer, breaker: Breaker, attempt: Attempt) -> None:
        self._answer = answer
        self._breaker = breaker
        self._attempt = attempt
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
                self._breaker.leave(self._attempt, failed=None)

    def _tell(self, events: Sequence[StreamEvent] | None) -> None:
        self._told = True
        self._breaker.leave(self._attempt, failed=False if events else _is_down(self._answer.outcome))


def _is_down(outcome: Outcome) -> bool | None:
    """Whether an attempt without a single event says that the upstream is down; None: it says nothing.

    Its own refusals (4xx) say that it is there. What never reached it has another kind than CONNECTION_LOST.
    """
    if isinstance(outcome, Stopped):
        return None
    if not isinstance(outcome, Broken):
        return False
    error = outcome.error
    if error.upstream is not None:
        return error.upstream.status >= _ANY_SERVER_ERROR
    return True if error.kind is FailureKind.CONNECTION_LOST else None
