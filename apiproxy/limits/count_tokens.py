"""Rate limit of count_tokens: in memory, per process."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from apiproxy.core.errors import FailureKind
from apiproxy.core.limits import LimitError

DEFAULT_PER_MINUTE = 600
"""Limit of a key without `requests_per_minute`. Claude Code sends a few counts per turn."""
MAX_AT_ONCE = 8
"""Maximum concurrent counts of one key: each parses a body and holds an upstream connection."""
MAX_KEYS = 10_000
_WINDOW_S = 60.0
_BUSY_WAIT_MS = 1_000


@dataclass(slots=True)
class _Key:
    """Counts in the window from `start` (now) and the previous one; active counts."""

    start: float
    now: int = 0
    before: int = 0
    open: int = 0


class CountLimiter:
    """Sliding-window counter per key; the previous window counts by its overlap.

    Used on the event loop only.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._keys: OrderedDict[int, _Key] = OrderedDict()

    @contextmanager
    def counting(self, key_id: int, per_minute: int | None) -> Iterator[None]:
        """Count one request while it runs.

        per_minute: the key's request limit. Raises LimitError (RATE_LIMITED).
        """
        limit = DEFAULT_PER_MINUTE if per_minute is None else per_minute
        key = self._current(key_id)
        if key.open >= MAX_AT_ONCE:
            message = f"This API key is limited to {MAX_AT_ONCE} concurrent token counts."
            raise LimitError(FailureKind.RATE_LIMITED, message, wait_ms=_BUSY_WAIT_MS)
        wait_s = self._wait_s(key, limit)
        if wait_s > 0:
            message = f"This API key is limited to {limit} token counts per minute."
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
        """Seconds until one more request fits; 0: now."""
        elapsed = self._monotonic() - key.start
        if key.before * (1 - elapsed / _WINDOW_S) + key.now + 1 <= limit:
            return 0.0
        if key.now < limit:  # blocked by the overlap of the previous window
            return max(0.0, (1 - (limit - key.now - 1) / key.before) * _WINDOW_S - elapsed) if key.before else 0.0
        return _WINDOW_S - elapsed + max(0.0, 1 - (limit - 1) / key.now) * _WINDOW_S

    def _forget_idle(self) -> None:
        for key_id, key in self._keys.items():
            if not key.open:
                del self._keys[key_id]
                return
