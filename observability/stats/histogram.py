"""Duration histogram with exponential buckets: percentiles of any window come from summed counts.

Each bucket is 12 % wider than the previous one and percentiles are interpolated within a bucket, so they are within 6 %
of the exact value at any magnitude (as in DDSketch). Rationale: docs/decisions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

GROWTH = 2.0 ** (1 / 6)
"""Ratio of a bucket's upper to its lower edge."""

MAX_BUCKET = 200
"""Index of the last bucket, which starts at 121 days."""

_LOG_GROWTH = math.log(GROWTH)


def bucket_of(milliseconds: float) -> int:
    """Bucket index of a duration; 0 below one millisecond."""
    if milliseconds < 1:
        return 0
    return min(MAX_BUCKET, 1 + int(math.log(milliseconds) / _LOG_GROWTH + 1e-9))


def edges(bucket: int) -> tuple[float, float]:
    """Lower and upper edge of a bucket in milliseconds."""
    return (0.0, 1.0) if bucket == 0 else (GROWTH ** (bucket - 1), GROWTH**bucket)


def merge(counts: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Sum (bucket, count) pairs by bucket."""
    merged: dict[int, int] = {}
    for bucket, count in counts:
        merged[bucket] = merged.get(bucket, 0) + count
    return merged


def percentiles(counts: Mapping[int, int], shares: Sequence[float]) -> list[float | None]:
    """Percentiles in milliseconds for ascending shares (0–1); None without observations."""
    total = sum(counts.values())
    found: list[float | None] = []
    before, buckets = 0, iter(sorted(counts.items()))
    bucket, count = next(buckets, (0, 0))
    for share in shares:
        rank = share * total
        while before + count < rank:
            before += count
            bucket, count = next(buckets)
        low, high = edges(bucket)
        found.append(low + (high - low) * (rank - before) / count if total else None)
    return found
