"""Synthetic traces for an empty dashboard in demo mode."""

import time
from datetime import UTC, datetime
from typing import Any

from django.db import connections, transaction

from observability.stats.figures import FINE_KEPT_S
from observability.stats.rollup import Sums
from observability.tracing.store import write_sums, write_traces
from observability.tracing.synthetic import synthetic_traces

_BATCHES = ((2_400, 7.0), (500, 1.0), (120, 1 / 24), (40, 5 / 24 / 60))
"""Count and period in days, one for each window of the charts."""

_KEY_OFFSET = 1_000_000
"""Added to the synthetic key ids, else they would be those of real keys."""


def fill() -> int:
    """Write traces and rollups; returns the number of traces. Blocks, and closes the thread's connections."""
    now, seed = datetime.now(UTC), time.time_ns()
    traces = [
        trace for part, (count, days) in enumerate(_BATCHES)
        for trace in synthetic_traces(count, days=days, until=now, seed=seed + part)
    ]  # fmt: skip
    ended = [_as_demo(trace) for trace in traces if trace["finished_at"] <= now]
    sums = Sums()
    for trace in ended:
        recent = (now - trace["finished_at"]).total_seconds() < FINE_KEPT_S
        sums.add(trace, at=trace["finished_at"].timestamp(), model=trace["model"], fine=recent)
    try:
        with transaction.atomic():
            write_traces(ended)
            write_sums(sums)
    finally:
        connections.close_all()
    return len(ended)


def _as_demo(trace: dict[str, Any]) -> dict[str, Any]:
    return trace | {"node": "demo", "key_id": trace["key_id"] + _KEY_OFFSET}
