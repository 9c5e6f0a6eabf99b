"""Limit policy: errors and their retry times."""

from datetime import UTC, date, datetime

import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.core.limits import KeyLimits, LimitError, Period, usd
from apiproxy.limits.budget import day_of, first_day, resets_at_ms
from apiproxy.limits.policy import RUNNING_WAIT_MS, Cost, KeyState, limit_state, refusal
from apiproxy.limits.window import WINDOW_MS, WindowEntry

TODAY = date(2026, 12, 31)
NOW = int(datetime(2026, 12, 31, 18, 0, tzinfo=UTC).timestamp() * 1000)
SIX_HOURS_S = 6 * 3600


def cost(*, tokens: int = 10, micro_usd: int | None = 10) -> Cost:
    return Cost(tokens=tokens, micro_usd=micro_usd, day=TODAY)


def refused(key: KeyState, wanted: Cost | None = None) -> LimitError:
    error = refusal(key, wanted or cost(), now_ms=NOW)
    assert error is not None
    return error


def test_admit_key_without_limits() -> None:
    assert KeyLimits().unlimited
    assert refusal(KeyState(limits=KeyLimits()), cost(micro_usd=None), now_ms=NOW) is None


@pytest.mark.parametrize(
    ("period", "wait_s"),
    [(Period.DAY, SIX_HOURS_S), (Period.MONTH, SIX_HOURS_S), (Period.TOTAL, None)],
)
def test_tell_when_spent_budget_renews(period: Period, wait_s: int | None) -> None:
    error = refused(KeyState(limits=KeyLimits(budgets={period: 100}), spent={period: 100}))
    assert error.kind is FailureKind.BUDGET_SPENT
    assert error.retry_after_s == wait_s
    assert not error.retryable


def test_tell_remainder_of_insufficient_budget() -> None:
    error = refused(
        KeyState(limits=KeyLimits(budgets={Period.DAY: 2_000_000}), spent={Period.DAY: 1_500_000}),
        cost(micro_usd=600_000),
    )
    assert error.kind is FailureKind.BUDGET_SPENT
    assert "up to 0.60 USD, and 0.50 USD of this API key's daily budget are left" in error.message


def test_tell_reserved_budget_from_spent_one() -> None:
    running = WindowEntry(at_ms=NOW, micro_usd=95, day=TODAY)
    error = refused(KeyState(limits=KeyLimits(budgets={Period.TOTAL: 100}), entries=[running]))
    assert (error.kind, error.retry_after_s) == (FailureKind.RATE_LIMITED, RUNNING_WAIT_MS / 1000)


def test_exclude_yesterdays_reservation_from_todays_budget() -> None:
    running = WindowEntry(at_ms=NOW, micro_usd=95, day=date(2026, 12, 30))
    assert refusal(KeyState(limits=KeyLimits(budgets={Period.DAY: 100}), entries=[running]), cost(), now_ms=NOW) is None
    assert refusal(KeyState(limits=KeyLimits(budgets={Period.MONTH: 100}), entries=[running]), cost(), now_ms=NOW)


def test_reject_model_without_price_for_key_with_budget() -> None:
    error = refused(KeyState(limits=KeyLimits(budgets={Period.DAY: 100})), cost(micro_usd=None))
    assert error.kind is FailureKind.FORBIDDEN
    assert refusal(KeyState(limits=KeyLimits(requests_per_minute=1)), cost(micro_usd=None), now_ms=NOW) is None


def test_tell_that_request_can_never_be_admitted() -> None:
    error = refused(KeyState(limits=KeyLimits(tokens_per_minute=100)), cost(tokens=101))
    assert (error.kind, error.retry_after_s, error.retryable) == (FailureKind.RATE_LIMITED, None, False)


def test_tell_longest_wait() -> None:
    limits = KeyLimits(requests_per_minute=1, tokens_per_minute=100, concurrent_runs=1)
    entries = [WindowEntry(at_ms=NOW - 50_000, tokens=95, settled_ms=NOW - 20_000), WindowEntry(at_ms=NOW, tokens=0)]
    error = refused(KeyState(limits=limits, entries=entries))
    assert error.retry_after_s == WINDOW_MS / 1000


def test_report_permanent_limit_first() -> None:
    limits = KeyLimits(requests_per_minute=1, budgets={Period.TOTAL: 5})
    assert refused(KeyState(limits=limits, entries=[WindowEntry(at_ms=NOW)])).kind is FailureKind.BUDGET_SPENT


def test_count_concurrent_runs_for_their_whole_duration() -> None:
    running = [WindowEntry(at_ms=NOW - 10 * WINDOW_MS) for _ in range(3)]
    assert refused(KeyState(limits=KeyLimits(concurrent_runs=3), entries=running)).retry_after_s == 1
    assert refusal(KeyState(limits=KeyLimits(concurrent_runs=4), entries=running), cost(), now_ms=NOW) is None


@pytest.mark.parametrize(("spent", "warning"), [(79, ""), (80, "day 0.00008 of 0.0001 USD")])
def test_warn_of_nearly_spent_budget(spent: int, warning: str) -> None:
    key = KeyState(limits=KeyLimits(budgets={Period.DAY: 100}), spent={Period.DAY: spent})
    assert limit_state(key, day=TODAY, now_ms=NOW).warning == warning


def test_days_and_months_are_those_of_utc() -> None:
    assert day_of(0) == date(1970, 1, 1)
    assert first_day(Period.MONTH, TODAY) == date(2026, 12, 1)
    february = resets_at_ms(Period.MONTH, date(2028, 2, 29))
    assert february == int(datetime(2028, 3, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("micro", "text"), [(0, "0.00"), (4_210_000, "4.21"), (5_000_000, "5.00"), (12_345, "0.012345")]
)
def test_amounts_have_as_many_decimals_as_they_need(micro: int, text: str) -> None:
    assert usd(micro) == text
