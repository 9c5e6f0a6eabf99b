"""Key limits: configuration, state and rejection.

Amounts are in millionths of a USD.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from apiproxy.core.errors import FailureKind, ProxyError

MICRO = 1_000_000
"""Millionths per USD."""


class Period(StrEnum):
    """Period of a budget: a UTC day, a UTC calendar month, or unlimited."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Limits of a key. None, or no entry in budgets: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_runs: int | None = None
    budgets: Mapping[Period, int] = field(default_factory=dict)
    warn_percent: int = 80

    @property
    def unlimited(self) -> bool:
        rates = (self.requests_per_minute, self.tokens_per_minute, self.concurrent_runs)
        return not self.budgets and all(limit is None for limit in rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """State of a per-minute limit.

    full_at_ms: Unix time in milliseconds at which all of it is available again if nothing more is used.
    """

    limit: int
    remaining: int
    full_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """State of a budget. held: reserved by active runs."""

    period: Period
    limit: int
    spent: int
    held: int

    @property
    def used_percent(self) -> int:
        """Percentage spent, rounded down; 100 for a budget of zero."""
        return 100 * self.spent // self.limit if self.limit else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """State of a key's limits, for response headers.

    at_ms: Unix time in milliseconds. Empty for a key without limits.
    """

    at_ms: int = 0
    requests: Gauge | None = None
    tokens: Gauge | None = None
    budgets: tuple[BudgetState, ...] = ()
    warn_percent: int = 100

    @property
    def warning(self) -> str:
        """Value of `x-proxy-budget-warning`, empty without a warning.

        Lists the budgets that are nearly spent, as `day 4.21 of 5.00 USD`.
        """
        near = [state for state in self.budgets if state.used_percent >= self.warn_percent]
        return ", ".join(f"{state.period} {usd(state.spent)} of {usd(state.limit)} USD" for state in near)


NO_LIMITS = KeyLimits()
NO_STATE = LimitState()


class LimitError(ProxyError):
    """Request rejected by a key's limits.

    retry_after_s: exact if it depends only on the limits. retryable: False if a retry before that cannot succeed.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        state: LimitState = NO_STATE,
        wait_ms: int | None = None,
        retryable: bool = True,
    ) -> None:
        super().__init__(kind, message, retry_after_s=None if wait_ms is None else wait_ms / 1000)
        self.state = state
        self.retryable = retryable


def usd(micro: int) -> str:
    """Format an amount with at least two decimals."""
    text = f"{micro / MICRO:.6f}"
    return text[: max(len(text.rstrip("0")), text.index(".") + 3)]
