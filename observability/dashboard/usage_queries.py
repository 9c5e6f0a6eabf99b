"""Queries of the keys and of their usage."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TypedDict

from django.db.models import F, Sum
from django.utils import timezone

from apiproxy.core.limits import MICRO
from apiproxy.models import ApiKey, Usage

MAX_KEYS = 1_000


class KeyRow(TypedDict):
    """A key with its budgets in US dollars; None: no budget. state: `in use`, `expired` or `revoked`."""

    id: int
    name: str
    prefix: str
    state: str
    budget_day: float | None
    budget_month: float | None
    budget_total: float | None


class UsageRow(TypedDict):
    """Usage of a key on one day (UTC); cost is an estimate in US dollars.

    unpriced: requests whose cost is missing from `cost`, wholly or in part.
    """

    key_id: int
    key: str
    day: date
    requests: int
    failures: int
    tokens_in: int
    cache_read: int
    tokens_out: int
    cost: float
    unpriced: int


async def all_keys() -> Sequence[KeyRow]:
    """The keys by name, at most `MAX_KEYS`."""
    return [_key(key) async for key in ApiKey.objects.order_by("name", "pk")[:MAX_KEYS]]


async def usage_since(day: date) -> Sequence[UsageRow]:
    """Usage by key and day, from that day on, over all models."""
    rows = Usage.objects.filter(day__gte=day).order_by().values("key_id", "day", key=F("key_label"))
    summed = rows.annotate(
        requests_=Sum("requests"),
        failures_=Sum("failures"),
        tokens_in=Sum("input_tokens") + Sum("cache_read_tokens") + Sum("cache_creation_tokens"),
        cache_read=Sum("cache_read_tokens"),
        tokens_out=Sum("output_tokens"),
        micro=Sum("cost_micro_usd"),
        unpriced_=Sum("unpriced") + Sum("partly_unpriced"),
    )
    return [
        {
            "key_id": row["key_id"],
            "key": row["key"],
            "day": row["day"],
            "requests": row["requests_"],
            "failures": row["failures_"],
            "tokens_in": row["tokens_in"],
            "cache_read": row["cache_read"],
            "tokens_out": row["tokens_out"],
            "cost": row["micro"] / MICRO,
            "unpriced": row["unpriced_"],
        }
        async for row in summed
    ]


async def spent_by_key() -> dict[int, float]:
    """Total cost of each key in US dollars, by key id."""
    rows = Usage.objects.order_by().values("key_id").annotate(micro=Sum("cost_micro_usd"))
    return {row["key_id"]: row["micro"] / MICRO async for row in rows}


def _key(key: ApiKey) -> KeyRow:
    expired = key.expires_at is not None and key.expires_at <= timezone.now()
    return {
        "id": key.pk,
        "name": key.name,
        "prefix": key.prefix,
        "state": "revoked" if key.revoked_at else "expired" if expired else "in use",
        "budget_day": _dollars(key.budget_day_usd),
        "budget_month": _dollars(key.budget_month_usd),
        "budget_total": _dollars(key.budget_total_usd),
    }


def _dollars(budget: Decimal | None) -> float | None:
    return None if budget is None else float(budget)
