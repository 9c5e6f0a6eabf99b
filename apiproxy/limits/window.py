"""The limits per minute: a sliding window over what was really used, so that no 60 seconds ever hold more than allowed.

A bucket that refills would let up to twice the limit through within a minute, and so would minutes by the clock. Times
are whole Unix milliseconds, so that sums and waits are exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from apiproxy.core.limits import Gauge

WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one run takes. settled_ms: when it ended, None while it goes on; tokens are reserved ones until then.

    A request counts for a minute from its beginning. Its tokens count from its beginning until a minute after its end:
    nobody knows when within the run they were used.
    """

    at_ms: int
    tokens: int = 0
    settled_ms: int | None = None
    micro_usd: int = 0
    day: date = date.min

    @property
    def open(self) -> bool:
        """Whether the run goes on."""
        return self.settled_ms is None


def requests_gauge(entries: Iterable[Entry], *, limit: int, now_ms: int) -> Gauge:
    """How the limit of requests stands."""
    begun = [entry.at_ms for entry in entries if entry.at_ms + WINDOW_MS > now_ms]
    full_at_ms = max(begun, default=now_ms - WINDOW_MS) + WINDOW_MS
    return Gauge(limit=limit, remaining=max(0, limit - len(begun)), full_at_ms=full_at_ms)


def requests_wait_ms(entries: Iterable[Entry], *, limit: int, now_ms: int) -> int:
    """How long until one more request may begin; 0: now."""
    begun = sorted(entry.at_ms for entry in entries if entry.at_ms + WINDOW_MS > now_ms)
    if len(begun) < limit:
        return 0
    return begun[len(begun) - limit] + WINDOW_MS - now_ms


def tokens_gauge(entries: Iterable[Entry], *, limit: int, now_ms: int) -> Gauge:
    """How the limit of tokens stands; runs that go on count as if they ended now."""
    counting = [entry for entry in entries if _counts(entry, now_ms) and entry.tokens]
    ends = [now_ms if entry.settled_ms is None else entry.settled_ms for entry in counting]
    return Gauge(
        limit=limit,
        remaining=max(0, limit - sum(entry.tokens for entry in counting)),
        full_at_ms=max(ends, default=now_ms - WINDOW_MS) + WINDOW_MS,
    )


def tokens_wait_ms(entries: Iterable[Entry], *, limit: int, need: int, now_ms: int) -> int | None:
    """How long until so many tokens are free; 0: they are; None: that depends on runs that go on, or never happens."""
    counting = [entry for entry in entries if _counts(entry, now_ms)]
    missing = sum(entry.tokens for entry in counting) + need - limit
    if missing <= 0:
        return 0
    for settled_ms, tokens in sorted((entry.settled_ms, entry.tokens) for entry in counting if entry.settled_ms):
        missing -= tokens
        if missing <= 0:
            return settled_ms + WINDOW_MS - now_ms
    return None


def _counts(entry: Entry, now_ms: int) -> bool:
    return entry.settled_ms is None or entry.settled_ms + WINDOW_MS > now_ms
