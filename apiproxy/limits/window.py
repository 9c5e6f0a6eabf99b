"""Limits per minute: an exact sliding window over any 60 seconds.

A token bucket or fixed minutes would allow up to twice the limit within 60 seconds. Times are whole Unix milliseconds,
so that sums and waits are exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from apiproxy.core.limits import Gauge

WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowEntry:
    """One run within the window.

    settled_ms: end of the run, None while it is active; until then `tokens` are reserved ones.
    A request counts for one minute from its start. Its tokens count from its start until one minute after its end,
    because the time within the run at which they were used is unknown.
    """

    at_ms: int
    tokens: int = 0
    settled_ms: int | None = None
    micro_usd: int = 0
    day: date = date.min

    @property
    def open(self) -> bool:
        return self.settled_ms is None


def requests_gauge(entries: Iterable[WindowEntry], *, limit: int, now_ms: int) -> Gauge:
    """State of the request limit."""
    begun = [entry.at_ms for entry in entries if entry.at_ms + WINDOW_MS > now_ms]
    full_at_ms = max(begun, default=now_ms - WINDOW_MS) + WINDOW_MS
    return Gauge(limit=limit, remaining=max(0, limit - len(begun)), full_at_ms=full_at_ms)


def requests_wait_ms(entries: Iterable[WindowEntry], *, limit: int, now_ms: int) -> int:
    """Milliseconds until one more request may start; 0: now."""
    begun = sorted(entry.at_ms for entry in entries if entry.at_ms + WINDOW_MS > now_ms)
    if len(begun) < limit:
        return 0
    return begun[len(begun) - limit] + WINDOW_MS - now_ms


def tokens_gauge(entries: Iterable[WindowEntry], *, limit: int, now_ms: int) -> Gauge:
    """State of the token limit; active runs count as if they ended now."""
    counting = [entry for entry in entries if _counts(entry, now_ms) and entry.tokens]
    ends = [now_ms if entry.settled_ms is None else entry.settled_ms for entry in counting]
    return Gauge(
        limit=limit,
        remaining=max(0, limit - sum(entry.tokens for entry in counting)),
        full_at_ms=max(ends, default=now_ms - WINDOW_MS) + WINDOW_MS,
    )


def tokens_wait_ms(entries: Iterable[WindowEntry], *, limit: int, wanted: int, now_ms: int) -> int | None:
    """Milliseconds until `wanted` tokens are free; 0: now.

    None: never, or dependent on the end of active runs.
    """
    counting = [entry for entry in entries if _counts(entry, now_ms)]
    missing = sum(entry.tokens for entry in counting) + wanted - limit
    if missing <= 0:
        return 0
    for settled_ms, tokens in sorted((entry.settled_ms, entry.tokens) for entry in counting if entry.settled_ms):
        missing -= tokens
        if missing <= 0:
            return settled_ms + WINDOW_MS - now_ms
    return None


def _counts(entry: WindowEntry, now_ms: int) -> bool:
    return entry.settled_ms is None or entry.settled_ms + WINDOW_MS > now_ms
