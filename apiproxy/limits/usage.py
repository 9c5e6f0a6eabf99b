"""Usage totals by key, model and day: adding and reading."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date
from typing import Any, NamedTuple

from django.db.models import F, Q, Sum

from apiproxy.core.limits import Period
from apiproxy.limits.budget import first_day
from apiproxy.models import Usage
from apiproxy.models.usage import NAME_CHARS

_UNSTORABLE = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # NUL, and lone surrogates


class UsageKey(NamedTuple):
    """One row of `models.Usage`."""

    key_id: int
    day: date
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Amounts to add to a row of `models.Usage`; same field names."""

    requests: int = 0
    failures: int = 0
    unpriced: int = 0
    partly_unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_micro_usd: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        pairs = zip(SUMMED, astuple(self), astuple(other), strict=True)
        return Sums(**{name: mine + theirs for name, mine, theirs in pairs})


SUMMED = tuple(field.name for field in fields(Sums))


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEntry:
    """Usage of one run."""

    row: UsageKey
    key_label: str
    sums: Sums


def add(entries: Iterable[UsageEntry]) -> None:
    """Add to the rows in the caller's transaction; sorted, against deadlocks."""
    totals: dict[UsageKey, Sums] = {}
    labels: dict[UsageKey, str] = {}
    for entry in entries:
        totals[entry.row] = totals.get(entry.row, Sums()) + entry.sums
        labels[entry.row] = entry.key_label
    for row in sorted(totals):
        amounts = {name: getattr(totals[row], name) for name in SUMMED}
        growing = {name: F(name) + amount for name, amount in amounts.items() if amount}
        rows = Usage.objects.filter(key_id=row.key_id, day=row.day, model=row.model)
        if not rows.update(key_label=labels[row], **growing):
            empty = Usage(**row._asdict(), key_label=labels[row])
            Usage.objects.bulk_create([empty], ignore_conflicts=True)  # or another process was first
            rows.update(**growing)


def storable(text: str) -> str:
    """Replace characters a database rejects, exactly as in traces."""
    cut = text if len(text) <= NAME_CHARS else text[: NAME_CHARS - 1] + "…"
    return cut.translate(_UNSTORABLE)


def spent(key_id: int, day: date, periods: Iterable[Period]) -> Mapping[Period, int]:
    """The key's spending in the periods that contain `day`, in micro-USD."""
    wanted = {period: first_day(period, day) for period in periods}
    if not wanted:
        return {}
    sums = {
        f"in_{period}": Sum("cost_micro_usd", filter=Q(day__gte=since), default=0) for period, since in wanted.items()
    }
    found = Usage.objects.filter(key_id=key_id, day__gte=min(wanted.values()), day__lte=day).aggregate(**sums)
    return {period: found[f"in_{period}"] for period in wanted}


def cache_hit_rate(row: Mapping[str, Any]) -> float | None:
    """Share of the input tokens that was read from the prompt cache, rounded; None without any input."""
    prompt = row["input_tokens"] + row["cache_read_tokens"] + row["cache_creation_tokens"]
    return round(row["cache_read_tokens"] / prompt, 4) if prompt else None


def rows_of(key_id: int, *, since: date, until: date) -> Sequence[dict[str, Any]]:
    """The key's rows from `since` to `until` inclusive, newest day first."""
    rows = Usage.objects.filter(key_id=key_id, day__range=(since, until)).order_by("-day", "model")
    return list(rows.values("day", "model", *SUMMED))
