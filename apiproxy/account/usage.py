"""A key's usage, limits and budgets as JSON."""

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.limits import MICRO, BudgetState, Gauge, LimitState
from apiproxy.core.principal import Principal
from apiproxy.limits.budget import day_of, resets_at_ms
from apiproxy.limits.ledger import current_state
from apiproxy.limits.usage import SUMMED, cache_hit_rate, rows_of

DEFAULT_DAYS = 30
MAX_DAYS = 366


async def usage_of(principal: Principal, query: Mapping[str, str]) -> dict[str, Any]:
    """Usage in the last `days` days (UTC, including today), and state of limits.

    Costs are estimates in USD. Raises ProxyError (INVALID_REQUEST) for an invalid number of days.
    """
    now_s = time.time()
    today = day_of(now_s)
    since = today - timedelta(days=_days(query.get("days")) - 1)
    return await sync_to_async(_usage)(principal, since, today, int(now_s * 1000))


def _usage(principal: Principal, since: date, today: date, now_ms: int) -> dict[str, Any]:
    rows = rows_of(principal.key_id, since=since, until=today)
    state = current_state(principal.key_id, day=today, now_ms=now_ms)
    totals = {name: sum(row[name] for row in rows) for name in SUMMED}
    return {
        "object": "usage",
        "key": principal.label,
        "cost_is": "estimate",
        "currency": "USD",
        "from": since.isoformat(),
        "to": today.isoformat(),
        "totals": _sums(totals),
        "usage": [{"date": row["day"].isoformat(), "model": row["model"], **_sums(row)} for row in rows],
        "limits": _limits(principal, state),
        "budgets": [_budget(budget, today) for budget in state.budgets],
        "warning": state.warning or None,
    }


def _sums(row: Mapping[str, Any]) -> dict[str, Any]:
    sums = {name: row[name] for name in SUMMED if name != "cost_micro_usd"}
    return {**sums, "cache_hit_rate": cache_hit_rate(row), "cost_usd": row["cost_micro_usd"] / MICRO}


def _limits(principal: Principal, state: LimitState) -> dict[str, Any]:
    return {
        "requests_per_minute": _gauge(state.requests),
        "tokens_per_minute": _gauge(state.tokens),
        "concurrent_runs": principal.limits.concurrent_runs,
        "allowed_models": list(principal.allowed_models) or None,
        "allowed_dialects": list(principal.allowed_dialects) or None,
        "expires_at": None if principal.expires_at is None else _iso(principal.expires_at),
    }


def _gauge(gauge: Gauge | None) -> dict[str, Any] | None:
    if gauge is None:
        return None
    return {"limit": gauge.limit, "remaining": gauge.remaining, "full_at": _iso(gauge.full_at_ms / 1000)}


def _budget(budget: BudgetState, today: date) -> dict[str, Any]:
    renewed = resets_at_ms(budget.period, today)
    return {
        "period": budget.period.value,
        "limit_usd": budget.limit / MICRO,
        "spent_usd": budget.spent / MICRO,
        "reserved_usd": budget.held / MICRO,
        "remaining_usd": max(0, budget.limit - budget.spent - budget.held) / MICRO,
        "used_percent": budget.used_percent,
        "renewed_at": None if renewed is None else _iso(renewed / 1000),
    }


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, tz=UTC).isoformat()


def _days(given: str | None) -> int:
    if given is None:
        return DEFAULT_DAYS
    # Check the text first: int() raises ValueError for thousands of digits.
    if not (given.isdecimal() and given.isascii() and len(given) < 5 and 1 <= int(given) <= MAX_DAYS):
        raise ProxyError(FailureKind.INVALID_REQUEST, f"days: must be from 1 to {MAX_DAYS}", param="days")
    return int(given)
