"""What is said about limits: a key's own, how they stand, and the refusal. Amounts are in millionths of a dollar."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from apiproxy.core.errors import FailureKind, ProxyError

MICRO = 1_000_000
"""Millionths in a dollar."""


class Period(StrEnum):
    """How long a budget has to last: a day or a calendar month, both in UTC, or for ever."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What a key is limited to; None, and a period that is not in budgets: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_runs: int | None = None
    budgets: Mapping[Period, int] = field(default_factory=dict)
    warn_percent: int = 80

    @property
    def unlimited(self) -> bool:
        """Whether there is nothing to keep."""
        rates = (self.requests_per_minute, self.tokens_per_minute, self.concurrent_runs)
        return not self.budgets and all(limit is None for limit in rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One limit per minute: how much of it is free, and when (Unix milliseconds) all of it is if nothing more comes."""

    limit: int
    remaining: int
    full_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """One budget: what was spent of it, and what runs that go on may still cost."""

    period: Period
    limit: int
    spent: int
    held: int

    @property
    def used_percent(self) -> int:
        """The part that is spent, rounded down; a budget of nothing is used up."""
        return 100 * self.spent // self.limit if self.limit else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """How a key's limits stand at `at_ms`; a dialect shows it in headers. Empty for a key without limits."""

    at_ms: int = 0
    requests: Gauge | None = None
    tokens: Gauge | None = None
    budgets: tuple[BudgetState, ...] = ()
    warn_percent: int = 100

    @property
    def warning(self) -> str:
        """For `x-proxy-budget-warning`: the budgets that are nearly spent, as `day 4.21 of 5.00 USD`; else empty."""
        near = [state for state in self.budgets if state.used_percent >= self.warn_percent]
        return ", ".join(f"{state.period} {usd(state.spent)} of {usd(state.limit)} USD" for state in near)


NO_LIMITS = KeyLimits()
NO_STATE = LimitState()


class LimitError(ProxyError):
    """A request that a key's limits do not let through.

    retry_after_s is exact where the limits alone decide it. retryable is False where the same request cannot pass
    before that, or ever: a client's own quick retries are of no use.
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
    """An amount in words: two decimals, or as many as it needs."""
    text = f"{micro / MICRO:.6f}"
    return text[: max(len(text.rstrip("0")), text.index(".") + 3)]
