"""Durations in buckets that grow by a constant factor, so that percentiles of any window are sums of counts.

A bucket is 12 % wider than the one before it, and a percentile is read within its bucket by interpolation: what
comes out is within 6 % of the exact figure, whatever its size (the idea of DDSketch). docs/decisions has the reasons.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

GROWTH = 2.0 ** (1 / 6)
"""The upper edge of each bucket over its lower edge."""

MAX_BUCKET = 200
"""The last bucket; it begins at 121 days."""

_LOG_GROWTH = math.log(GROWTH)


def bucket_of(milliseconds: float) -> int:
    """The bucket of a duration: 0 below one millisecond, then one for each growth by `GROWTH`."""
    if milliseconds < 1:
        return 0
    return min(MAX_BUCKET, 1 + int(math.log(milliseconds) / _LOG_GROWTH + 1e-9))


def edges(bucket: int) -> tuple[float, float]:
    """The lower and the upper edge of a bucket in milliseconds."""
    return (0.0, 1.0) if bucket == 0 else (GROWTH ** (bucket - 1), GROWTH**bucket)


def merge(counts: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Pairs of bucket and count summed by bucket."""
    merged: dict[int, int] = {}
    for bucket, count in counts:
        merged[bucket] = merged.get(bucket, 0) + count
    return merged


def percentiles(counts: Mapping[int, int], shares: Sequence[float]) -> list[float | None]:
    """The durations in milliseconds below which those shares (0–1, rising) of what was observed lie, if any was."""
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
