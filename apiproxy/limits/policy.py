"""Whether a request may pass: a pure function of what is known of its key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from apiproxy.core.errors import FailureKind
from apiproxy.core.limits import BudgetState, KeyLimits, LimitError, LimitState, Period, usd
from apiproxy.limits.budget import first_day, renewed_ms
from apiproxy.limits.window import Entry, requests_gauge, requests_wait_ms, tokens_gauge, tokens_wait_ms

HELD_WAIT_MS = 1_000
"""What a client is told to wait where a run's end decides: nobody knows it, and a second costs little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The most that a request may use. micro_usd None: its model has no price."""

    tokens: int
    micro_usd: int | None
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What is known of a key: its limits, what it has in the window or runs now, and what it has spent by period."""

    limits: KeyLimits
    entries: Sequence[Entry] = ()
    spent: Mapping[Period, int] = field(default_factory=dict)


def budget_states(book: Book, day: date) -> tuple[BudgetState, ...]:
    """How the key's budgets stand on that day."""

    def held(period: Period) -> int:
        since = first_day(period, day)
        return sum(entry.micro_usd for entry in book.entries if entry.open and since <= entry.day <= day)

    return tuple(
        BudgetState(period=period, limit=limit, spent=book.spent.get(period, 0), held=held(period))
        for period, limit in book.limits.budgets.items()
    )


def state_of(book: Book, *, day: date, now_ms: int) -> LimitState:
    """How the key's limits stand."""
    requests, tokens = book.limits.requests_per_minute, book.limits.tokens_per_minute
    return LimitState(
        at_ms=now_ms,
        requests=None if requests is None else requests_gauge(book.entries, limit=requests, now_ms=now_ms),
        tokens=None if tokens is None else tokens_gauge(book.entries, limit=tokens, now_ms=now_ms),
        budgets=budget_states(book, day),
        warn_percent=book.limits.warn_percent,
    )


def refusal(book: Book, need: Need, *, now_ms: int) -> LimitError | None:
    """Why the request may not pass, with the longest of the waits; None: it may.

    What cannot pass by waiting comes first.
    """
    found = list(_refusals(book, need, now_ms))
    if not found:
        return None
    worst = max(found, key=lambda error: (not error.retryable, error.retry_after_s or 0.0))
    worst.state = state_of(book, day=need.day, now_ms=now_ms)
    return worst


def _refusals(book: Book, need: Need, now_ms: int) -> Iterator[LimitError]:
    limits = book.limits
    for budget in budget_states(book, need.day):
        if error := _over_budget(budget, need, now_ms):
            yield error
    if (limit := limits.tokens_per_minute) is not None and (error := _too_many_tokens(book, limit, need, now_ms)):
        yield error
    if (limit := limits.requests_per_minute) is not None:
        wait_ms = requests_wait_ms(book.entries, limit=limit, now_ms=now_ms)
        if wait_ms:
            yield _limited(f"This API key may send {limit} requests per minute.", wait_ms)
    if (limit := limits.concurrent_runs) is not None and sum(entry.open for entry in book.entries) >= limit:
        yield _limited(f"This API key may have {limit} requests answered at the same time.", HELD_WAIT_MS)


def _over_budget(budget: BudgetState, need: Need, now_ms: int) -> LimitError | None:
    if need.micro_usd is None:
        message = "This API key has a budget, and this model has no price in the gateway's table of models."
        return LimitError(FailureKind.FORBIDDEN, message, retryable=False)
    left = max(0, budget.limit - budget.spent)
    if need.micro_usd <= left - budget.held:
        return None
    if 0 < need.micro_usd <= left:
        return _limited("Requests that are being answered may use up this API key's budget.", HELD_WAIT_MS)
    renewed = renewed_ms(budget.period, need.day)
    wait_ms = None if renewed is None else max(0, renewed - now_ms)
    kind = {Period.DAY: "daily ", Period.MONTH: "monthly ", Period.TOTAL: ""}[budget.period]
    message = f"This API key's {kind}budget of {usd(budget.limit)} USD is spent."
    if left:
        message = (
            f"This request may cost up to {usd(need.micro_usd)} USD, and {usd(left)} USD of this API key's "
            f"{kind}budget are left. A smaller max_tokens costs less."
        )
    return LimitError(FailureKind.BUDGET_SPENT, message, wait_ms=wait_ms, retryable=False)


def _too_many_tokens(book: Book, limit: int, need: Need, now_ms: int) -> LimitError | None:
    if need.tokens > limit:
        message = (
            f"This request may use up to {need.tokens} tokens, and this API key may use {limit} tokens per minute. "
            f"A smaller max_tokens reserves less."
        )
        return LimitError(FailureKind.RATE_LIMITED, message, retryable=False)
    wait_ms = tokens_wait_ms(book.entries, limit=limit, need=need.tokens, now_ms=now_ms)
    if wait_ms == 0:
        return None
    return _limited(f"This API key may use {limit} tokens per minute.", HELD_WAIT_MS if wait_ms is None else wait_ms)


def _limited(message: str, wait_ms: int) -> LimitError:
    return LimitError(FailureKind.RATE_LIMITED, message, wait_ms=wait_ms)
