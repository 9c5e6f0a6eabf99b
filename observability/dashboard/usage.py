"""GET /dashboard/usage: usage of each key by day, and its budgets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from observability.dashboard.access import PageContext, page, render_page
from observability.dashboard.usage_queries import KeyRow, UsageRow, all_keys, spent_by_key, usage_since
from observability.models import Dimension
from observability.stats import figures

DAYS = {"7": 7, "30": 30, "90": 90}
DEFAULT_DAYS = "30"
TOP_KEYS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Budget of a period and its spending, in US dollars."""

    period: str
    limit: float
    spent: float

    @property
    def percent(self) -> float:
        """Share spent; above 100 if the budget is exceeded."""
        return 100 * self.spent / self.limit if self.limit else 100.0

    @property
    def bar(self) -> float:
        return min(100.0, self.percent)

    @property
    def level(self) -> str:
        """Severity, for the style sheet."""
        return "bad" if self.percent >= 100 else "warn" if self.percent >= 80 else "ok"


@dataclass(slots=True, kw_only=True)
class KeyUsage:
    """Usage of one key over the days shown."""

    name: str
    key_id: int
    state: str
    requests: int = 0
    failures: int = 0
    tokens_in: int = 0
    cache_read: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    unpriced: int = 0
    by_day: dict[date, float] = field(default_factory=dict)
    budgets: list[Budget] = field(default_factory=list)

    @property
    def cached_percent(self) -> float | None:
        """Share of the input that was read from the prompt cache; None without input."""
        return 100 * self.cache_read / self.tokens_in if self.tokens_in else None


@page
async def usage(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """The page, for 7, 30 or 90 days."""
    days = DAYS.get(request.GET.get("days", ""), DAYS[DEFAULT_DAYS])
    today = datetime.now(UTC).date()
    shown = [today - timedelta(days=back) for back in range(days - 1, -1, -1)]
    # From the first of the month, else its budget would be compared with a part of its spending.
    rows = await usage_since(min(shown[0], today.replace(day=1)))
    keys = keys_with_usage(await all_keys(), rows, spent=await spent_by_key(), today=today, since=shown[0])
    context: dict[str, Any] = {
        "title": "Usage",
        "days": days,
        "choices": list(DAYS.values()),
        "keys": keys,
        "chart": chart(keys, shown),
        "total": total_of(keys),
        "agents": await figures.groups(Dimension.AGENT, _midnight(shown[0])),
    }
    return await render_page(request, ctx, "observability/usage.html", context)


def _midnight(day: date) -> float:
    """Unix time of the day's beginning, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def keys_with_usage(
    keys: Sequence[KeyRow], rows: Sequence[UsageRow], *, spent: dict[int, float], today: date, since: date
) -> list[KeyUsage]:
    """Usage by key since that day, most expensive first, including deleted keys."""
    found = {key["id"]: KeyUsage(name=key["name"], key_id=key["id"], state=key["state"]) for key in keys}
    day_cost: dict[int, float] = {}
    month_cost: dict[int, float] = {}
    for row in rows:
        key_id = row["key_id"]
        one = found.setdefault(key_id, KeyUsage(name=row["key"], key_id=key_id, state="deleted"))
        if row["day"] == today:
            day_cost[key_id] = day_cost.get(key_id, 0.0) + row["cost"]
        if row["day"] >= today.replace(day=1):
            month_cost[key_id] = month_cost.get(key_id, 0.0) + row["cost"]
        if row["day"] >= since:
            one.requests += row["requests"]
            one.failures += row["failures"]
            one.tokens_in += row["tokens_in"]
            one.cache_read += row["cache_read"]
            one.tokens_out += row["tokens_out"]
            one.cost += row["cost"]
            one.unpriced += row["unpriced"]
            one.by_day[row["day"]] = one.by_day.get(row["day"], 0.0) + row["cost"]
    for key in keys:
        limits = (
            ("today", key["budget_day"], day_cost.get(key["id"], 0.0)),
            ("this month", key["budget_month"], month_cost.get(key["id"], 0.0)),
            ("in all", key["budget_total"], spent.get(key["id"], 0.0)),
        )
        found[key["id"]].budgets = [
            Budget(period=period, limit=limit, spent=used) for period, limit, used in limits if limit is not None
        ]
    return sorted(found.values(), key=lambda key: (-key.cost, -key.requests, key.name.lower()))


def total_of(keys: Sequence[KeyUsage]) -> KeyUsage:
    """Total over the keys."""
    total = KeyUsage(name="", key_id=0, state="")
    for key in keys:
        total.requests += key.requests
        total.failures += key.failures
        total.tokens_in += key.tokens_in
        total.cache_read += key.cache_read
        total.tokens_out += key.tokens_out
        total.cost += key.cost
        total.unpriced += key.unpriced
    return total


def chart(keys: Sequence[KeyUsage], days: Sequence[date]) -> dict[str, Any]:
    """Daily cost of the most expensive keys; the others are summed."""
    costly = [key for key in keys if key.cost > 0]
    lines = [{"label": key.name, "cost": [key.by_day.get(day, 0.0) for day in days]} for key in costly[:TOP_KEYS]]
    if rest := costly[TOP_KEYS:]:
        cost = [sum(key.by_day.get(day, 0.0) for key in rest) for day in days]
        lines.append({"label": f"{len(rest)} others", "cost": cost})
    return {"days": [day.isoformat() for day in days], "cost": lines}
