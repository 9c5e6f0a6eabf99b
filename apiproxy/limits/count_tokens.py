"""The rate limit of count_tokens: in memory and per process, apart from the limit of messages."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from apiproxy.core.errors import FailureKind
from apiproxy.core.limits import LimitError

DEFAULT_PER_MINUTE = 600
"""Counts per minute of a key without `requests_per_minute`. Claude Code asks for a few in each turn."""
MAX_AT_ONCE = 8
"""Counts of one key that are answered at the same time: each parses its body and holds a connection upstream."""
MAX_KEYS = 10_000
_WINDOW_S = 60.0
_BUSY_WAIT_MS = 1_000


@dataclass(slots=True)
class _Key:
    """Counts in the window that began at `start`, in the one before it, and those that are being answered."""

    start: float
    now: int = 0
    before: int = 0
    open: int = 0


class CountLimiter:
    """A sliding window per key, in constant memory: the window before counts by the part that still overlaps.

    Used on the event loop's thread only.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._keys: OrderedDict[int, _Key] = OrderedDict()

    @contextmanager
    def counting(self, key_id: int, per_minute: int | None) -> Iterator[None]:
        """Around one count. per_minute: the key's limit of requests. Raises LimitError (RATE_LIMITED)."""
        limit = DEFAULT_PER_MINUTE if per_minute is None else per_minute
        key = self._current(key_id)
        if key.open >= MAX_AT_ONCE:
            message = f"This API key may have {MAX_AT_ONCE} token counts answered at the same time."
            raise LimitError(FailureKind.RATE_LIMITED, message, wait_ms=_BUSY_WAIT_MS)
        wait_s = self._wait_s(key, limit)
        if wait_s > 0:
            message = f"This API key may ask for {limit} token counts per minute."
            raise LimitError(FailureKind.RATE_LIMITED, message, wait_ms=int(wait_s * 1000) + 1)
        key.now += 1
        key.open += 1
        try:
            yield
        finally:
            key.open -= 1

    def _current(self, key_id: int) -> _Key:
        now = self._monotonic()
        key = self._keys.setdefault(key_id, _Key(start=now))
        self._keys.move_to_end(key_id)
        passed = int((now - key.start) / _WINDOW_S)
        if passed:
            key.before, key.now = (key.now if passed == 1 else 0), 0
            key.start += passed * _WINDOW_S
        if len(self._keys) > MAX_KEYS:
            self._forget_idle()
        return key

    def _wait_s(self, key: _Key, limit: int) -> float:
        """Seconds until one more fits into the window; 0 for now."""
        elapsed = self._monotonic() - key.start
        if key.before * (1 - elapsed / _WINDOW_S) + key.now + 1 <= limit:
            return 0.0
        if key.now < limit:  # what remains of the window before is in the way
            return max(0.0, (1 - (limit - key.now - 1) / key.before) * _WINDOW_S - elapsed) if key.before else 0.0
        return _WINDOW_S - elapsed + max(0.0, 1 - (limit - 1) / key.now) * _WINDOW_S

    def _forget_idle(self) -> None:
        for key_id, key in self._keys.items():
            if not key.open:
                del self._keys[key_id]
                return


limiter = CountLimiter()
"""The limiter of this process."""
