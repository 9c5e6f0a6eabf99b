"""Limit policy: decides from a key's state whether a request may run. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from apiproxy.core.errors import FailureKind
from apiproxy.core.limits import BudgetState, KeyLimits, LimitError, LimitState, Period, usd
from apiproxy.limits.budget import first_day, resets_at_ms
from apiproxy.limits.window import WindowEntry, requests_gauge, requests_wait_ms, tokens_gauge, tokens_wait_ms

RUNNING_WAIT_MS = 1_000
"""Retry delay when the limit depends on the unknown end of a running request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Maximum usage of a request. micro_usd is None if its model has no price.

    adjustable: a smaller `max_tokens` lowers it; an agent's depends on its definition.
    """

    tokens: int
    micro_usd: int | None
    day: date
    adjustable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """A key's limits, active and recent runs, and spending by period."""

    limits: KeyLimits
    entries: Sequence[WindowEntry] = ()
    spent: Mapping[Period, int] = field(default_factory=dict)


def budget_states(key: KeyState, day: date) -> tuple[BudgetState, ...]:
    """State of the key's budgets on that day, reservations included."""

    def held(period: Period) -> int:
        since = first_day(period, day)
        return sum(entry.micro_usd for entry in key.entries if entry.open and since <= entry.day <= day)

    return tuple(
        BudgetState(period=period, limit=limit, spent=key.spent.get(period, 0), held=held(period))
        for period, limit in key.limits.budgets.items()
    )


def limit_state(key: KeyState, *, day: date, now_ms: int) -> LimitState:
    """State of all of the key's limits."""
    requests, tokens = key.limits.requests_per_minute, key.limits.tokens_per_minute
    return LimitState(
        at_ms=now_ms,
        requests=None if requests is None else requests_gauge(key.entries, limit=requests, now_ms=now_ms),
        tokens=None if tokens is None else tokens_gauge(key.entries, limit=tokens, now_ms=now_ms),
        budgets=budget_states(key, day),
        warn_percent=key.limits.warn_percent,
    )


def refusal(key: KeyState, cost: Cost, *, now_ms: int) -> LimitError | None:
    """Return the error for a request over a limit; None if it may run.

    Of several, the one with the longest wait; errors that waiting does not resolve come first.
    """
    found = list(_refusals(key, cost, now_ms))
    if not found:
        return None
    worst = max(found, key=lambda error: (not error.retryable, error.retry_after_s or 0.0))
    worst.state = limit_state(key, day=cost.day, now_ms=now_ms)
    return worst


def _refusals(key: KeyState, cost: Cost, now_ms: int) -> Iterator[LimitError]:
    limits = key.limits
    for budget in budget_states(key, cost.day):
        if error := _over_budget(budget, cost, now_ms):
            yield error
    if (limit := limits.tokens_per_minute) is not None and (error := _too_many_tokens(key, limit, cost, now_ms)):
        yield error
    if (limit := limits.requests_per_minute) is not None:
        wait_ms = requests_wait_ms(key.entries, limit=limit, now_ms=now_ms)
        if wait_ms:
            yield _limited(f"This API key is limited to {limit} requests per minute.", wait_ms)
    if (limit := limits.concurrent_runs) is not None and sum(entry.open for entry in key.entries) >= limit:
        yield _limited(f"This API key is limited to {limit} concurrent requests.", RUNNING_WAIT_MS)


def _over_budget(budget: BudgetState, cost: Cost, now_ms: int) -> LimitError | None:
    if cost.micro_usd is None:
        message = "This model has no price in the gateway's model table, and this API key has a budget."
        return LimitError(FailureKind.FORBIDDEN, message, retryable=False)
    left = max(0, budget.limit - budget.spent)
    if cost.micro_usd <= left - budget.held:
        return None
    if 0 < cost.micro_usd <= left:
        return _limited("Running requests may use up this API key's budget.", RUNNING_WAIT_MS)
    renewed = resets_at_ms(budget.period, cost.day)
    wait_ms = None if renewed is None else max(0, renewed - now_ms)
    kind = {Period.DAY: "daily ", Period.MONTH: "monthly ", Period.TOTAL: ""}[budget.period]
    message = f"This API key's {kind}budget of {usd(budget.limit)} USD is spent."
    if left:
        cheaper = " A smaller max_tokens costs less." if cost.adjustable else ""
        message = (
            f"This request may cost up to {usd(cost.micro_usd)} USD, and {usd(left)} USD of this API key's "
            f"{kind}budget are left.{cheaper}"
        )
    return LimitError(FailureKind.BUDGET_SPENT, message, wait_ms=wait_ms, retryable=False)


def _too_many_tokens(key: KeyState, limit: int, cost: Cost, now_ms: int) -> LimitError | None:
    if cost.tokens > limit:
        message = (
            f"This request may use up to {cost.tokens} tokens; this API key is limited to {limit} tokens per minute. "
            f"A smaller max_tokens reserves less."
        )
        return LimitError(FailureKind.RATE_LIMITED, message, retryable=False)
    wait_ms = tokens_wait_ms(key.entries, limit=limit, wanted=cost.tokens, now_ms=now_ms)
    if wait_ms == 0:
        return None
    return _limited(
        f"This API key is limited to {limit} tokens per minute.", RUNNING_WAIT_MS if wait_ms is None else wait_ms
    )


def _limited(message: str, wait_ms: int) -> LimitError:
    return LimitError(FailureKind.RATE_LIMITED, message, wait_ms=wait_ms)
