"""Rollups of ended requests by time step: in total, by model, by key, by agent and by error. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from observability.models import Dimension, Metric
from observability.stats.histogram import bucket_of
from observability.vocabulary import Status

FINE_S = 10
"""Resolution for the last minutes; totals only."""

MINUTE_S = 60
QUARTER_S = 900
"""Resolution for charts of a day; totals only."""

HOUR_S = 3600
RESOLUTIONS_S = (FINE_S, MINUTE_S, QUARTER_S, HOUR_S)

_ALL_ONLY = (FINE_S, QUARTER_S)

OTHER_MODEL = "other"
"""Label for models without an upstream response: clients choose their names, so they are unbounded."""

SUMS = (
    "requests", "completed", "errors", "cancelled", "refused", "interrupted", "queue_ms", "queue_n", "ttft_ms",
    "ttft_n", "duration_ms", "duration_n", "output_ms", "output_chars", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_creation_tokens", "cost_micro_usd", "unpriced", "stalls", "retries",
)  # fmt: skip

_COUNTED_AS = {
    Status.COMPLETED: "completed",
    Status.ERROR: "errors",
    Status.CANCELLED: "cancelled",
    Status.REFUSED: "refused",
    Status.INTERRUPTED: "interrupted",
}
_COPIED = (
    "output_chars", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "stalls", "retries",
)  # fmt: skip


class RowKey(NamedTuple):
    """Unique columns of `Rollup`."""

    resolution_s: int
    dimension: str
    start: int
    value: str


class BucketKey(NamedTuple):
    """Unique columns of `RollupBucket`."""

    resolution_s: int
    dimension: str
    start: int
    value: str
    metric: str
    bucket: int


@dataclass(slots=True)
class Sums:
    """Sums over several requests, to be added to the rollup tables."""

    rows: dict[RowKey, dict[str, Any]] = field(default_factory=dict)
    buckets: dict[BucketKey, int] = field(default_factory=dict)

    def add(self, trace: Mapping[str, Any], *, at: float, model: str, fine: bool = True, minutes: bool = True) -> None:
        """Add an ended trace, given by its columns. at: Unix time of its end. model: label to sum under.

        fine: also add to the 10 s sums. minutes: also add to minutes and quarters. Older traces need neither.
        """
        measures = measures_of(trace)
        error = trace["status"] in (Status.ERROR, Status.INTERRUPTED)
        values = _values(trace, model=model, error=error)
        for resolution in RESOLUTIONS_S[0 if fine else 1 :] if minutes else (HOUR_S,):
            start = int(at) // resolution * resolution
            for dimension, value, label in values[:1] if resolution in _ALL_ONLY else values:
                key = RowKey(resolution, dimension, start, value)
                self._add_row(key, measures, at, label)
                if error:
                    self.rows[key] |= {"last_error_at": at, "last_error_id": trace["id"]}
            for dimension, value, _ in values[: 1 if resolution in _ALL_ONLY else 2]:
                self._add_buckets(resolution, dimension, start, value, trace)

    def _add_row(self, key: RowKey, measures: Mapping[str, int], at: float, label: str) -> None:
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = _empty_row(at)
        for name, number in measures.items():
            row[name] += number
        row["duration_ms_max"] = max(row["duration_ms_max"], measures["duration_ms"])
        row["first_at"], row["last_at"] = min(row["first_at"], at), max(row["last_at"], at)
        row["label"] = label

    def _add_buckets(self, resolution: int, dimension: str, start: int, value: str, trace: Mapping[str, Any]) -> None:
        if trace["status"] == Status.REFUSED:
            return
        for metric in Metric:
            milliseconds = trace[f"{metric.value}_ms"]
            if milliseconds is not None:
                key = BucketKey(resolution, dimension, start, value, metric.value, bucket_of(milliseconds))
                self.buckets[key] = self.buckets.get(key, 0) + 1


def _values(trace: Mapping[str, Any], *, model: str, error: bool) -> list[tuple[str, str, str]]:
    """Dimension, value and label of each sum that includes the trace."""
    values = [(Dimension.ALL.value, "", ""), (Dimension.MODEL.value, model, "")]
    if trace["key_id"] is not None:
        values.append((Dimension.KEY.value, str(trace["key_id"]), trace["key_label"]))
    if trace["agent"]:
        slug, _, _ = trace["agent"].partition("@")
        values.append((Dimension.AGENT.value, slug, ""))
    if error:
        kind = trace["error_type"] or trace["end_reason"]
        values.append((Dimension.ERROR.value, f"{kind}/{trace['error_phase'] or trace['phase']}", ""))
    return values


def measures_of(trace: Mapping[str, Any]) -> dict[str, int]:
    """Contribution of one ended trace to each sum. Durations of refused requests are excluded."""
    measures = {name: trace[name] for name in _COPIED}
    measures |= {"requests": 1, _COUNTED_AS[Status(trace["status"])]: 1, "cost_micro_usd": trace["cost_micro_usd"] or 0}
    measures["unpriced"] = int(bool(trace["unpriced"]))
    for name in ("queue", "ttft", "duration"):
        milliseconds = None if trace["status"] == Status.REFUSED else trace[f"{name}_ms"]
        measures[f"{name}_ms"], measures[f"{name}_n"] = milliseconds or 0, int(milliseconds is not None)
    first, last = trace["first_token_at"], trace["last_event_at"]
    writing = isinstance(first, datetime) and isinstance(last, datetime)
    measures["output_ms"] = max(0, round((last - first).total_seconds() * 1000)) if writing else 0
    return measures


def merge_rows(rows: Iterable[tuple[RowKey, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rows with their keys as columns, sorted, else concurrent writers deadlock."""
    return [key._asdict() | dict(row) for key, row in sorted(rows, key=lambda pair: pair[0])]


def _empty_row(at: float) -> dict[str, Any]:
    return dict.fromkeys(SUMS, 0) | {
        "duration_ms_max": 0, "first_at": at, "last_at": at, "last_error_at": 0.0, "last_error_id": "", "label": "",
    }  # fmt: skip
