"""Deletion of expired rows, in small chunks so that the trace writer is not blocked for long."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import models

from observability.models import Dimension, ErrorDump, Rollup, RollupBucket, StoredBody, Trace
from observability.stats.figures import KEPT_S
from observability.stats.rollup import HOUR_S

DUMP_DAYS = 14
"""Retention of dumps and stored bodies, unless traces are kept for less."""

_CHUNK = 1_000
_PAUSE_S = 0.02
"""Pause between chunks, so that the trace writer gets the database lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Numbers of deleted rows."""

    traces: int
    dumps: int
    bodies: int
    sums: int

    @property
    def any(self) -> bool:
        return bool(self.traces or self.dumps or self.bodies or self.sums)


def prune(
    *,
    trace_days: int,
    dump_days: int = DUMP_DAYS,
    now: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Pruned:
    """Delete old traces, sums, error dumps and bodies. Blocks.

    trace_days: of traces and hourly sums. dump_days: of dumps and bodies.
    Cuts traces at whole hours, so that they remain consistent with the hourly sums. Returns early once `stopped()`.
    """
    now = time.time() if now is None else now
    hour = int(now - trace_days * 86_400) // HOUR_S * HOUR_S
    cutoff = datetime.fromtimestamp(hour, UTC)
    dump_cutoff = max(cutoff, datetime.fromtimestamp(now, UTC) - timedelta(days=dump_days))
    dumps = _delete(ErrorDump.objects.filter(created_at__lt=dump_cutoff).order_by("created_at"), stopped)
    bodies = _delete(StoredBody.objects.filter(created_at__lt=dump_cutoff).order_by("created_at"), stopped)
    traces = _delete(Trace.objects.filter(received_at__lt=cutoff).order_by("received_at", "id"), stopped)
    # A window starts at a whole hour, up to an hour before its first minute.
    ends = {resolution: now - kept_s - HOUR_S for resolution, kept_s in KEPT_S.items()} | {HOUR_S: hour}
    sums = sum(
        _delete(table.objects.filter(resolution_s=resolution, dimension=dimension, start__lt=int(end)), stopped)
        for table in (Rollup, RollupBucket)
        for resolution, end in ends.items()
        for dimension in Dimension
    )
    return Pruned(traces=traces, dumps=dumps, bodies=bodies, sums=sums)


def _delete(rows: models.QuerySet[models.Model], stopped: Callable[[], bool]) -> int:
    deleted = 0
    while not stopped():
        chunk = list(rows.values_list("pk", flat=True)[:_CHUNK])
        if not chunk:
            break
        rows.model._default_manager.filter(pk__in=chunk).delete()
        deleted += len(chunk)
        time.sleep(_PAUSE_S)
    return deleted
