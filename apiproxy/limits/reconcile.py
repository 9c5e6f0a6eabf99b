"""Comparison of key usage with the sums of traces."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.apps import apps
from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate

from apiproxy.limits.usage import UsageKey
from apiproxy.models import Usage

COMPARED = ("requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "cost_micro_usd")
_ENDED = ("completed", "error", "cancelled")
"""Statuses of traces with usage. Rejected or timed-out requests used nothing, unless stopped at the end of a drain; the
usage of runs that died with their process is unknown."""
_USED_SOMETHING = Q(input_tokens__gt=0) | Q(output_tokens__gt=0) | Q(cache_read_tokens__gt=0)


class NoTracesError(Exception):
    """Observability is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A total that differs."""

    row: UsageKey
    name: str
    used: int
    traced: int


def differences(since: date, until: date) -> Iterator[Difference]:
    """Differences from `since` to `until` inclusive (UTC). Raises NoTracesError."""
    traced, used = _traced(since, until), _used(since, until)
    for row in sorted({*traced, *used}):
        for name in COMPARED:
            mine, theirs = used.get(row, {}).get(name, 0), traced.get(row, {}).get(name, 0)
            if mine != theirs:
                yield Difference(row=row, name=name, used=mine, traced=theirs)


def _used(since: date, until: date) -> dict[UsageKey, dict[str, int]]:
    rows = Usage.objects.filter(day__range=(since, until)).values("key_id", "day", "model", *COMPARED)
    return {_key(row): {name: row[name] for name in COMPARED} for row in rows}


def _traced(since: date, until: date) -> dict[UsageKey, dict[str, int]]:
    if not apps.is_installed("observability"):
        raise NoTracesError
    # By name: apiproxy must not import observability.
    traces = apps.get_model("observability", "Trace")._default_manager.filter(
        (Q(status__in=_ENDED) & ~Q(end_reason="queue_timeout")) | (Q(status="refused") & _USED_SOMETHING),
        key_id__isnull=False,
        received_at__gte=_midnight(since),
        received_at__lt=_midnight(until + timedelta(days=1)),
    )
    sums: dict[str, Any] = {name: Sum(name, default=0) for name in COMPARED if name != "requests"}
    by_row = traces.values("key_id", "model", day=TruncDate("received_at", tzinfo=UTC))
    rows: Any = by_row.annotate(requests=Count("pk"), **sums).order_by()
    return {_key(row): {name: row[name] for name in COMPARED} for row in rows}


def _key(row: dict[str, Any]) -> UsageKey:
    return UsageKey(row["key_id"], row["day"], row["model"])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
