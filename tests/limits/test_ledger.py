"""Reservations in the database: limits are never exceeded, and all reservations end."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apiproxy.core.limits import LimitError, LimitState, Period
from apiproxy.db import process_id
from apiproxy.limits.jobs import Release
from apiproxy.limits.ledger import LEASE_MS, Ledger, current_state
from apiproxy.limits.open_runs import UNSETTLED_S, OpenRuns
from apiproxy.models import Reservation, Usage
from tests.limits.support import Clock, ask, make_key, passed, reserve, settle

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger(clock)


def test_admit_as_many_of_fifty_as_the_limit(ledger: Ledger, clock: Clock) -> None:
    key = make_key(requests_per_minute=20)
    assert passed(ask(ledger, *(reserve(key) for _ in range(50)))) == 20
    assert passed(ask(ledger, *(reserve(key) for _ in range(50)))) == 0
    clock.advance(60)
    assert passed(ask(ledger, *(reserve(key) for _ in range(50)))) == 20


def test_release_unused_tokens_at_end_of_run(ledger: Ledger) -> None:
    key = make_key(tokens_per_minute=100)
    first = reserve(key, tokens=80)
    assert passed(ask(ledger, first, reserve(key, tokens=30))) == 1
    assert passed(ask(ledger, settle(first, tokens=50), reserve(key, tokens=50))) == 1
    (answer,) = ask(ledger, reserve(key, tokens=1))
    assert isinstance(answer, LimitError)
    assert answer.state.tokens is not None
    assert answer.state.tokens.remaining == 0


def test_admit_next_run_when_one_ends(ledger: Ledger) -> None:
    key = make_key(concurrent_runs=1)
    first, second = reserve(key), reserve(key)
    assert passed(ask(ledger, first, second)) == 1
    assert passed(ask(ledger, settle(first), second)) == 1


def test_charge_nothing_for_released_reservation(ledger: Ledger) -> None:
    key = make_key(requests_per_minute=1, concurrent_runs=1, budget_total_usd=Decimal("0.0001"))
    first = reserve(key, micro_usd=100)
    assert passed(ask(ledger, first)) == 1
    assert passed(ask(ledger, Release(first.run_id), reserve(key, micro_usd=100))) == 1


def test_enforce_budget_in_every_period_by_actual_usage(ledger: Ledger, clock: Clock) -> None:
    key = make_key(budget_day_usd=Decimal("0.0001"), budget_month_usd=Decimal("0.0002"))
    assert current_state(key.pk, day=clock.today, now_ms=0).budgets[1].limit == 200
    first = reserve(key, micro_usd=100)
    assert passed(ask(ledger, first)) == 1
    assert passed(ask(ledger, settle(first, micro_usd=60), reserve(key, micro_usd=41))) == 0
    second = reserve(key, micro_usd=40)
    assert passed(ask(ledger, second)) == 1
    ask(ledger, settle(second, micro_usd=40))
    tomorrow = clock.today + timedelta(days=1)
    assert passed(ask(ledger, reserve(key, micro_usd=101, day=tomorrow))) == 0
    assert passed(ask(ledger, reserve(key, micro_usd=100, day=tomorrow))) == 1
    spent = {state.period: state.spent for state in current_state(key.pk, day=clock.today, now_ms=0).budgets}
    assert spent == {Period.DAY: 100, Period.MONTH: 100}


def test_usage_is_added_up_by_key_model_and_day(ledger: Ledger, clock: Clock) -> None:
    key, other = make_key(requests_per_minute=9), make_key(requests_per_minute=9)
    jobs = [reserve(key), reserve(key), reserve(other)]
    ask(ledger, *jobs)
    ask(ledger, settle(jobs[0], tokens=5), settle(jobs[1], tokens=7), settle(jobs[2], tokens=11))
    ask(ledger, settle(jobs[0], tokens=1, model="other"))
    rows = Usage.objects.filter(key_id__in=(key.pk, other.pk)).order_by("key_id", "model")
    assert list(rows.values_list("key_id", "model", "requests", "input_tokens")) == [
        (key.pk, "m", 2, 12),
        (key.pk, "other", 1, 1),
        (other.pk, "m", 1, 11),
    ]


def test_release_reservations_of_dead_process_at_next_start(clock: Clock) -> None:
    key = make_key(concurrent_runs=1, budget_total_usd=Decimal("0.0001"), tokens_per_minute=10)
    dead = Ledger(clock)
    dead._owner = "|".join((*process_id.owner().split("|")[:2], "999999999", "1.00"))
    assert passed(ask(dead, reserve(key, micro_usd=100))) == 1
    ledger = Ledger(clock)
    assert passed(ask(ledger, reserve(key, micro_usd=100))) == 0
    ledger.open()
    assert passed(ask(ledger, reserve(key, micro_usd=100))) == 1


def test_release_reservations_of_silent_process_only(
    clock: Clock,
) -> None:
    key = make_key(concurrent_runs=1)
    elsewhere = Ledger(clock)
    elsewhere._owner = "another-node|1|1.00"
    assert passed(ask(elsewhere, reserve(key))) == 1
    ledger = Ledger(clock)
    ledger.open()
    clock.advance(LEASE_MS / 1000 - 1)
    elsewhere.tick()
    clock.advance(LEASE_MS / 1000 - 1)
    assert passed(ask(ledger, reserve(key))) == 0
    clock.advance(1)
    assert passed(ask(ledger, reserve(key))) == 1


def test_settle_run_that_outlived_its_lease(ledger: Ledger, clock: Clock) -> None:
    key = make_key(tokens_per_minute=100)
    job = reserve(key, tokens=80)
    ask(ledger, job)
    clock.advance(LEASE_MS / 1000)
    ledger_of_another = Ledger(clock)
    ledger_of_another._owner = "another-node|1|1.00"
    ledger_of_another.tick()
    ask(ledger, settle(job, tokens=70))
    assert passed(ask(ledger, reserve(key, tokens=31))) == 0
    assert Usage.objects.get(key_id=key.pk).input_tokens == 70


def test_forget_counts_that_no_limit_needs(ledger: Ledger, clock: Clock) -> None:
    key = make_key(requests_per_minute=5)
    first, second = reserve(key), reserve(key)
    ask(ledger, first, second)
    ask(ledger, settle(first))
    clock.advance(60)
    ledger.tick()
    assert list(Reservation.objects.filter(key_id=key.pk).values_list("run_id", flat=True)) == [second.run_id]


def test_apply_changed_limits_to_next_request(ledger: Ledger) -> None:
    key = make_key(requests_per_minute=1)
    assert passed(ask(ledger, reserve(key), reserve(key))) == 1
    key.requests_per_minute = 2
    key.save()
    assert passed(ask(ledger, reserve(key))) == 1


def test_reject_key_deleted_meanwhile(ledger: Ledger) -> None:
    key = make_key(requests_per_minute=1)
    job = reserve(key)
    key.delete()
    (answer,) = ask(ledger, job)
    assert isinstance(answer, LimitError)


def test_report_leftovers(ledger: Ledger, clock: Clock) -> None:
    key = make_key(requests_per_minute=3, tokens_per_minute=100)
    (answer,) = ask(ledger, reserve(key, tokens=30))
    assert isinstance(answer, LimitState)
    assert answer.requests is not None
    assert answer.tokens is not None
    assert (answer.requests.remaining, answer.tokens.remaining) == (2, 70)
    assert answer.requests.full_at_ms == int(clock.now * 1000) + 60_000


def test_fifty_requests_cost_no_more_queries_than_one(
    ledger: Ledger, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    key = make_key(requests_per_minute=100, budget_day_usd=Decimal(1))
    with django_assert_max_num_queries(6):  # savepoint, key, entries, spent, insert, release
        ask(ledger, *(reserve(key) for _ in range(50)))


def test_record_first_use_of_key_with_its_address(ledger: Ledger) -> None:
    key = make_key(requests_per_minute=5)
    for address in ("192.0.2.1", "192.0.2.2"):
        job = reserve(key)
        done = settle(job)
        ask(ledger, job)
        ask(ledger, type(done)(**{**{f: getattr(done, f) for f in done.__slots__}, "first_used": (0.0, address)}))
    key.refresh_from_db()
    assert key.first_used_from == "192.0.2.1"
    assert key.first_used_at is not None
    assert key.first_used_at < timezone.now()


def test_admit_keys_after_clock_is_set_back(ledger: Ledger, clock: Clock) -> None:
    key = make_key(requests_per_minute=1, tokens_per_minute=100)
    ended, running = reserve(key, tokens=90), reserve(key, tokens=10)
    ask(ledger, ended)
    ask(ledger, settle(ended, tokens=90))
    clock.advance(-3_600)
    assert passed(ask(ledger, running)) == 1
    assert passed(ask(ledger, reserve(key))) == 0, "the limits hold by the new clock"


def test_count_run_that_began_before_clock_was_set_back(ledger: Ledger, clock: Clock) -> None:
    key = make_key(concurrent_runs=1)
    job = reserve(key)
    ask(ledger, job)
    clock.advance(-3_600)
    assert passed(ask(ledger, reserve(key))) == 0
    assert passed(ask(ledger, settle(job), reserve(key))) == 1


@pytest.mark.parametrize("tokens", [-5, 2**63, 2**80])
def test_free_the_reservation_of_usage_not_added(ledger: Ledger, tokens: int) -> None:
    key, other = make_key(concurrent_runs=1), make_key(concurrent_runs=1)
    bad, good = reserve(key), reserve(other)
    assert passed(ask(ledger, bad, good)) == 2
    ask(ledger, replace(settle(bad, tokens=tokens), tokens=10), settle(good))
    assert ledger.dropped == 1
    assert passed(ask(ledger, reserve(key), reserve(other))) == 2
    assert Usage.objects.get(key_id=other.pk).requests == 1
    assert not Usage.objects.filter(key_id=key.pk).exists()


def test_let_go_of_a_reservation_with_a_lost_settlement(clock: Clock) -> None:
    key, runs = make_key(concurrent_runs=2), OpenRuns(clock)
    ledger = Ledger(clock, runs=runs)
    going_on, lost = reserve(key), reserve(key)
    assert passed(ask(ledger, going_on, lost)) == 2
    runs.begin(going_on.run_id)
    runs.begin(lost.run_id)
    runs.end(lost.run_id)
    for _ in range(int(2 * UNSETTLED_S * 1000 / LEASE_MS)):
        ledger.tick()
        clock.advance(LEASE_MS / 2000)
    assert passed(ask(ledger, reserve(key))) == 0, "its settlement may still come"
    for _ in range(4):
        clock.advance(LEASE_MS / 2000)
        ledger.tick()
    assert passed(ask(ledger, reserve(key), reserve(key))) == 1


def test_forget_a_run_that_is_settled(clock: Clock) -> None:
    key, runs = make_key(concurrent_runs=2), OpenRuns(clock)
    ledger, job = Ledger(clock, runs=runs), reserve(key)
    ask(ledger, job)
    runs.begin(job.run_id)
    assert job.run_id in runs
    runs.end(job.run_id)
    assert job.run_id not in runs
    assert runs.holds(job.run_id)
    ask(ledger, settle(job))
    assert not runs.holds(job.run_id)
