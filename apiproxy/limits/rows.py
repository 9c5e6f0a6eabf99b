"""From a key's row to its limits."""

from decimal import Decimal

from apiproxy.core.limits import MICRO, KeyLimits, Period
from apiproxy.models import ApiKey


def limits_of(row: ApiKey) -> KeyLimits:
    """What the key is limited to."""
    amounts: dict[Period, Decimal | None] = {
        Period.DAY: row.budget_day_usd,
        Period.MONTH: row.budget_month_usd,
        Period.TOTAL: row.budget_total_usd,
    }
    return KeyLimits(
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        concurrent_runs=row.concurrent_runs,
        budgets={period: int(amount * MICRO) for period, amount in amounts.items() if amount is not None},
        warn_percent=row.budget_warn_percent,
    )
