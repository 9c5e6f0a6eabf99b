"""Statistics over a time window, read from the rollup tables (`rollup.py`) only."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, Max, Min, Q, Sum

from observability.models import Dimension, Metric, Rollup, RollupBucket
from observability.stats.histogram import merge, percentiles
from observability.stats.rollup import FINE_S, HOUR_S, MINUTE_S, QUARTER_S, SUMS

MINUTES_KEPT_S = 3 * 24 * 3600
FINE_KEPT_S = 2 * 3600
KEPT_S = {FINE_S: FINE_KEPT_S, MINUTE_S: MINUTES_KEPT_S, QUARTER_S: MINUTES_KEPT_S}
"""Retention of each resolution in seconds; hourly sums are kept as long as the traces."""

_MINUTES_ONLY_S = 2 * 3600
_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over a window. Averages are in milliseconds, rates per second; None without measurements.

    errors: failed requests, without those interrupted by the end of a process. unpriced: requests whose cost is missing
    from cost_usd, wholly or partly.
    """

    requests: int = 0
    completed: int = 0
    errors: int = 0
    cancelled: int = 0
    refused: int = 0
    interrupted: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    output_chars: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    stalls: int = 0
    retries: int = 0
    max_duration_ms: int = 0
    avg_duration_ms: float | None = None
    avg_ttft_ms: float | None = None
    avg_queue_ms: float | None = None
    chars_per_s: float | None = None
    tokens_per_s: float | None = None

    @property
    def error_rate(self) -> float:
        """Share of failed and interrupted requests; 0 without requests."""
        return (self.errors + self.interrupted) / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Totals of one model, key or error. Times are Unix seconds; last_error_at is None without errors."""

    value: str
    label: str
    totals: Totals
    first_at: float
    last_at: float
    last_error_at: float | None = None
    last_error_id: str = ""


Percentiles = Mapping[str, float | None]
"""Milliseconds by `p50`, `p90`, `p95`, `p99`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of a chart. start: Unix time. percentiles: by metric (`queue`, `ttft`, `duration`)."""

    start: int
    totals: Totals
    percentiles: Mapping[str, Percentiles] = field(default_factory=dict)


async def totals(since: float | None = None, *, now: float | None = None) -> Totals:
    """Sums over requests that ended since `since`.

    since: Unix time, rounded to minutes; None: all retained data.
    """
    rows = Rollup.objects.filter(_window(Dimension.ALL, since, now))
    return _totals(await rows.aaggregate(**_SUMS))


async def groups(dimension: Dimension, since: float | None = None, *, now: float | None = None) -> list[Group]:
    """Sums by model, key or error, most requests first."""
    rows = Rollup.objects.filter(_window(dimension, since, now))
    grouped = rows.order_by().values("value").annotate(
        **_SUMS, label_=Max("label"), first=Min("first_at"), last=Max("last_at"), last_error=Max("last_error_at"),
    )  # fmt: skip
    sums = [row async for row in grouped]
    # A second query: a subquery would be executed for every row of every group.
    latest = rows.filter(last_error_at__in={row["last_error"] for row in sums if row["last_error"]})
    ids = {(value, at): id_ async for value, at, id_ in latest.values_list("value", "last_error_at", "last_error_id")}
    found = [
        Group(
            value=row["value"],
            label=row["label_"] or "",
            totals=_totals(row),
            first_at=row["first"],
            last_at=row["last"],
            last_error_at=row["last_error"] or None,
            last_error_id=ids.get((row["value"], row["last_error"]), ""),
        )
        for row in sums
    ]
    return sorted(found, key=lambda group: (-group.totals.requests, group.value))


async def distribution(
    since: float | None = None, *, model: str | None = None, now: float | None = None
) -> dict[str, Percentiles]:
    """Percentiles of each metric over requests that ended since `since`, optionally of one model."""
    dimension = Dimension.ALL if model is None else Dimension.MODEL
    rows = RollupBucket.objects.filter(_window(dimension, since, now), value=model or "")
    counts: dict[str, list[tuple[int, int]]] = {metric.value: [] for metric in Metric}
    summed = rows.order_by().values_list("metric", "bucket").annotate(Sum("count"))
    async for metric, bucket, count in summed:
        counts[metric].append((bucket, count))
    return {metric: _percentiles(pairs) for metric, pairs in counts.items()}


async def series(since: float, step_s: int, *, now: float | None = None) -> list[Point]:
    """Chart points of all requests, including empty steps. step_s: a multiple of 10."""
    now = time.time() if now is None else now
    resolution = _resolution(step_s)
    first = int(since) // step_s * step_s
    window = Q(resolution_s=resolution, dimension=Dimension.ALL, start__gte=first, start__lte=now)
    step = F("start") - F("start") % step_s
    sums = {
        row["step"]: _totals(row)
        async for row in Rollup.objects.filter(window).order_by().annotate(step=step).values("step").annotate(**_SUMS)
    }
    counts: dict[tuple[int, str], list[tuple[int, int]]] = {}
    buckets = RollupBucket.objects.filter(window).order_by()
    if step_s == resolution:  # no aggregation: much faster, and the case for all dashboard windows
        rows = buckets.values_list("start", "metric", "bucket", "count")
    else:
        rows = buckets.annotate(step=step).values_list("step", "metric", "bucket").annotate(Sum("count"))
    async for start, metric, bucket, count in rows:
        counts.setdefault((start, metric), []).append((bucket, count))
    return [
        Point(
            start=start,
            totals=sums.get(start, Totals()),
            percentiles={metric.value: _percentiles(counts.get((start, metric.value), [])) for metric in Metric},
        )
        for start in range(first, int(now) + 1, step_s)
    ]


async def group_series(dimension: Dimension, since: float, step_s: int) -> dict[str, dict[int, Totals]]:
    """Charts by model or key: totals by value and step start, without empty steps.

    step_s: a multiple of 60.
    """
    first = int(since) // step_s * step_s
    resolution = HOUR_S if step_s % HOUR_S == 0 else MINUTE_S
    window = Q(resolution_s=resolution, dimension=dimension, start__gte=first)
    found: dict[str, dict[int, Totals]] = {}
    rows = Rollup.objects.filter(window).order_by().annotate(step=F("start") - F("start") % step_s)
    async for row in rows.values("value", "step").annotate(**_SUMS):
        found.setdefault(row["value"], {})[row["step"]] = _totals(row)
    return found


_SUMS: dict[str, Any] = {f"{name}_": Sum(name) for name in SUMS} | {"duration_ms_max_": Max("duration_ms_max")}


def _window(dimension: Dimension, since: float | None, now: float | None) -> Q:
    """Rows that cover the window exactly once.

    Hours, plus minutes for the part before the first whole hour.
    """
    if since is None:
        return Q(resolution_s=HOUR_S, dimension=dimension)
    now = time.time() if now is None else now
    minute = int(since) // MINUTE_S * MINUTE_S
    if now - since > MINUTES_KEPT_S:
        return Q(resolution_s=HOUR_S, dimension=dimension, start__gte=int(since) // HOUR_S * HOUR_S)
    if now - since <= _MINUTES_ONLY_S:
        return Q(resolution_s=MINUTE_S, dimension=dimension, start__gte=minute)
    hour = -(-minute // HOUR_S) * HOUR_S
    return Q(resolution_s=HOUR_S, dimension=dimension, start__gte=hour) | Q(
        resolution_s=MINUTE_S, dimension=dimension, start__gte=minute, start__lt=hour
    )


def _resolution(step_s: int) -> int:
    return next(resolution for resolution in (HOUR_S, QUARTER_S, MINUTE_S, FINE_S) if step_s % resolution == 0)


def _totals(row: Mapping[str, Any]) -> Totals:
    n = {name: row[f"{name}_"] or 0 for name in (*SUMS, "duration_ms_max")}
    seconds = n["output_ms"] / 1000
    return Totals(
        **{name: n[name] for name in _COPIED_SUMS},
        cost_usd=n["cost_micro_usd"] / 1_000_000,
        max_duration_ms=n["duration_ms_max"],
        avg_duration_ms=_average(n["duration_ms"], n["duration_n"]),
        avg_ttft_ms=_average(n["ttft_ms"], n["ttft_n"]),
        avg_queue_ms=_average(n["queue_ms"], n["queue_n"]),
        chars_per_s=_average(n["output_chars"], seconds),
        tokens_per_s=_average(n["output_tokens"], seconds),
    )


_COPIED_SUMS = (
    "requests", "completed", "errors", "cancelled", "refused", "interrupted", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_creation_tokens", "output_chars", "unpriced", "stalls", "retries",
)  # fmt: skip


def _average(total: float, count: float) -> float | None:
    return total / count if count else None


def _percentiles(pairs: list[tuple[int, int]]) -> Percentiles:
    return dict(zip(_SHARES, percentiles(merge(pairs), list(_SHARES.values())), strict=True))
