"""Circuit breaker: rejects requests while the upstream is down, instead of letting each of them fail.

A state machine without I/O, with the clock passed in. `Run` reports each of its attempts to it.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.engines.base import Broken, Outcome, Stopped

logger = logging.getLogger(__name__)

_ANY_SERVER_ERROR = 500


class BreakerState(StrEnum):
    """State of the breaker.

    closed: requests pass. open: requests of all keys, or of one, are rejected. probing: one request of each key passes.
    """

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


KeyId = int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """Limits of the breaker.

    failures: consecutive failures within window_s seconds that open it; 0: never. open_s: seconds until a probe.
    """

    failures: int
    window_s: float
    open_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """State for operators. failures: consecutive so far; opened: times opened since the process started."""

    state: BreakerState
    failures: int
    opened: int
    retry_after_s: float


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A running attempt.

    request: the run's id, whose attempts count as one failure. probe: let through as a test.
    """

    key: KeyId
    request: str
    since: float
    probe: bool
    reported: bool = False


class Breaker:
    """Circuit breaker over the attempts of one process. clock: monotonic seconds.

    A key's failures never reject another key's requests, since they may be the key's own fault: while all failures come
    from one key, only that key is rejected, and the first request of another key decides: its success closes the
    breaker, its failure opens it for all keys. A probe counts for `open_s`; after that its key may send another.
    """

    def __init__(self, limits: BreakerLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._failures: deque[tuple[float, KeyId, str]] = deque(maxlen=max(1, limits.failures))
        self._opened_at = 0.0
        self._open_until: float | None = None
        self._failing_keys: set[KeyId] = set()  # whose failures opened it
        self._probes: dict[KeyId, float] = {}
        self._opened = 0

    def snapshot(self) -> BreakerSnapshot:
        return BreakerSnapshot(
            state=self._state(),
            failures=len(self._failures),
            opened=self._opened,
            retry_after_s=self._open_for_s(),
        )

    def check(self, key: KeyId = None) -> None:
        """Raise ProxyError(UPSTREAM_DOWN) if an attempt of this key would be rejected now. Changes nothing."""
        wait_s = self._rejected_for_s(key)
        if wait_s > 0:
            message = f"The upstream API is unavailable: {len(self._failures)} requests in a row have failed."
            raise ProxyError(FailureKind.UPSTREAM_DOWN, message, retry_after_s=max(1, math.ceil(wait_s)))

    @contextmanager
    def attempt(self, key: KeyId = None, *, request: str = "") -> Iterator[Attempt]:
        """Enter an attempt and leave it; without a `leave` inside, it says nothing about the upstream."""
        attempt = self.enter(key, request=request)
        try:
            yield attempt
        finally:
            self.leave(attempt, failed=None)

    def enter(self, key: KeyId = None, *, request: str = "") -> Attempt:
        """Begin an attempt, to be followed by `leave`.

        Raises as `check`, unless the request has failed before: its client gets that error, not a rejection.
        """
        if not self._has_failed(request):
            self.check(key)
        now = self._clock()
        probe = self._open_until is not None and now >= self._open_until
        if probe:
            self._probes[key] = now
        return Attempt(key=key, request=request, since=now, probe=probe)

    def leave(self, attempt: Attempt, *, failed: bool | None) -> None:
        """Report an attempt's result; only the first call counts.

        failed=None: it says nothing about the upstream, because the client left or nothing was sent.
        """
        if attempt.reported:
            return
        attempt.reported = True
        if attempt.probe and self._probes.get(attempt.key) == attempt.since:
            del self._probes[attempt.key]
        if failed:
            self._fail(attempt)
        elif failed is False:
            self._failures.clear()
            if self._open_until is not None:
                self._open_until = None
                logger.warning("upstream.back")

    def _fail(self, attempt: Attempt) -> None:
        now = self._clock()
        if self._open_until is None:
            self._count(now, attempt)
        elif attempt.since < self._opened_at:
            return  # begun before the breaker opened: no news
        elif now >= self._open_until:  # a failed probe rejects its own key, until another key's fails too
            self._open(now, {attempt.key})
        elif attempt.key not in self._failing_keys:
            self._open(now, self._failing_keys | {attempt.key})

    def _count(self, now: float, attempt: Attempt) -> None:
        if self._has_failed(attempt.request):
            return
        self._failures.append((now, attempt.key, attempt.request))
        in_a_row = len(self._failures) == self._limits.failures
        if in_a_row and now - self._failures[0][0] <= self._limits.window_s:
            self._open(now, {key for _, key, _ in self._failures})
            self._opened += 1
            extra = {"failures": len(self._failures), "openS": self._limits.open_s, "keys": len(self._failing_keys)}
            logger.error("upstream.down", extra=extra)

    def _has_failed(self, request: str) -> bool:
        return bool(request) and any(request == failed for _, _, failed in self._failures)

    def _open(self, now: float, keys: set[KeyId]) -> None:
        self._opened_at = now
        self._open_until = now + self._limits.open_s
        self._failing_keys = keys

    def _rejected_for_s(self, key: KeyId) -> float:
        """Seconds for which attempts of this key are rejected; 0 if they pass."""
        if self._open_until is None:
            return 0.0
        if self._open_for_s() > 0:
            return self._open_for_s() if len(self._failing_keys) > 1 or key in self._failing_keys else 0.0
        since = self._probes.get(key)
        return 0.0 if since is None else max(0.0, since + self._limits.open_s - self._clock())

    def _state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        probing = any(self._clock() < since + self._limits.open_s for since in self._probes.values())
        return BreakerState.PROBING if probing else BreakerState.OPEN

    def _open_for_s(self) -> float:
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())


def upstream_failed(outcome: Outcome) -> bool | None:
    """True if an attempt without a single event shows that the upstream is down; None if it shows nothing.

    The upstream's 4xx show that it is up. Requests that never reached it have other kinds than CONNECTION_LOST.
    """
    if isinstance(outcome, Stopped):
        return None
    if not isinstance(outcome, Broken):
        return False
    error = outcome.error
    if error.upstream is not None:
        return error.upstream.status >= _ANY_SERVER_ERROR
    return True if error.kind is FailureKind.CONNECTION_LOST else None
