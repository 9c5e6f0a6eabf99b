"""Statistics from rollups cover the requested window exactly once."""

import random
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Event, Rejected
from observability.models import Dimension, Trace
from observability.stats import figures
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.store import Record, Store
from tests.observability.builders import course, draft_of, failed, finished, make_turn, refused

pytestmark = pytest.mark.django_db

HOUR = 1_790_000_000 // 3600 * 3600
NOW = HOUR + 1_830.0


def add(*ends: float, ending: Event | None = None, **turn: Any) -> list[str]:
    """Runs of one second that ended at the given times."""
    records = []
    for end in ends:
        begin = end - 1
        last: Event = (
            finished(begin)
            if ending is None
            else type(ending)(end, *[getattr(ending, name) for name in ending.__match_args__[1:]])
        )
        events = [last] if isinstance(last, Rejected) else course(begin, last)
        records.append(Record(draft_of(make_turn(at=begin, **turn), events), final=True))
    Store(node="here", redactor=Redactor(), names=ModelNames()).write(records)
    return [record.draft.id for record in records]


totals = async_to_sync(figures.totals)
groups = async_to_sync(figures.groups)
distribution = async_to_sync(figures.distribution)
series = async_to_sync(figures.series)
group_series = async_to_sync(figures.group_series)


def test_without_requests_there_are_zeros_and_no_averages() -> None:
    empty = totals(NOW - 300, now=NOW)

    assert (empty.requests, empty.error_rate, empty.avg_duration_ms, empty.chars_per_s) == (0, 0.0, None, None)
    assert groups(Dimension.MODEL) == []
    assert distribution(NOW - 300, now=NOW)["ttft"] == {"p50": None, "p90": None, "p95": None, "p99": None}


def test_sums_and_averages_are_those_of_the_runs() -> None:
    add(NOW, NOW, NOW)
    add(NOW, ending=failed())
    add(NOW, ending=refused())
    found = totals()

    assert (found.requests, found.completed, found.errors, found.refused) == (5, 3, 1, 1)
    assert found.error_rate == 0.2
    assert (found.avg_duration_ms, found.max_duration_ms) == (1000, 1000)
    assert found.avg_ttft_ms == 400
    assert (found.input_tokens, found.output_tokens) == (400, 80)
    assert found.cost_usd == pytest.approx(4 * 0.0123)
    assert found.output_chars == 4 * 9


@pytest.mark.parametrize("window_s", [60, 300, 3_600, 2 * 3_600, 5 * 3_600, 86_400, 3 * 86_400])
def test_sum_window_to_the_minute(window_s: int) -> None:
    dice = random.Random(window_s)
    ages = [0.0, *(dice.uniform(0, 1.5 * window_s) for _ in range(150))]
    add(*(NOW - age for age in ages))
    first = int(NOW - window_s) // 60 * 60

    assert totals(NOW - window_s, now=NOW).requests == sum(NOW - age >= first for age in ages)
    counted = distribution(NOW - window_s, now=NOW)["duration"]["p50"]
    assert counted == pytest.approx(1000, rel=0.12)


def test_count_long_window_in_hours() -> None:
    add(NOW, NOW - 5 * 86_400, NOW - 20 * 86_400)

    assert totals(NOW - 7 * 86_400, now=NOW).requests == 2
    assert totals().requests == 3


def test_models_are_told_apart_and_name_their_last_error() -> None:
    add(NOW - 50, NOW - 40, model="a")
    (older,) = add(NOW - 7_200, ending=failed(), model="a")
    (latest,) = add(NOW - 30, ending=failed(), model="a")
    add(NOW - 20, model="b")
    first, second = groups(Dimension.MODEL, NOW - 3_600, now=NOW)

    assert (first.value, first.totals.requests, first.totals.errors) == ("a", 3, 1)
    assert (first.last_error_id, first.last_error_at) == (latest, NOW - 30)
    assert (second.value, second.totals.errors, second.last_error_id, second.last_error_at) == ("b", 0, "", None)
    assert older != latest
    assert [group.totals.requests for group in groups(Dimension.MODEL)] == [4, 1]


def test_keep_latest_error_whatever_the_write_order() -> None:
    (latest,) = add(NOW, ending=failed())
    add(NOW - 10, ending=failed())

    assert groups(Dimension.ALL)[0].last_error_id == latest


def test_group_errors_by_type_and_phase() -> None:
    add(NOW - 600, NOW - 60, ending=failed())
    add(NOW - 30, ending=failed(kind=FailureKind.STALL))
    overloaded, stalled = groups(Dimension.ERROR, NOW - 3_600, now=NOW)

    assert (overloaded.value, overloaded.totals.requests) == ("upstream_error/streaming", 2)
    assert (overloaded.first_at, overloaded.last_at) == (NOW - 600, NOW - 60)
    assert (stalled.value, stalled.last_error_id) == ("stall/streaming", Trace.objects.get(end_reason="stall").pk)


def test_keys_are_summed_by_id_and_shown_by_label() -> None:
    add(NOW, NOW, key_id=1)
    add(NOW, key_id=2)
    add(NOW, key_id=None, ending=refused())

    found = [(group.value, group.label, group.totals.requests) for group in groups(Dimension.KEY)]
    assert found == [("1", "team", 2), ("2", "team", 1)]


@pytest.mark.parametrize(("window_s", "step_s"), [(300, 10), (3_600, 60), (86_400, 900), (7 * 86_400, 3_600)])
def test_chart_every_step_and_each_request_once(window_s: int, step_s: int) -> None:
    dice = random.Random(step_s)
    add(*(NOW - dice.uniform(0, window_s) for _ in range(60)))
    points = series(NOW - window_s, step_s, now=NOW)

    assert [point.start for point in points] == list(range(points[0].start, int(NOW) + 1, step_s))
    assert points[0].start == int(NOW - window_s) // step_s * step_s
    assert sum(point.totals.requests for point in points) == 60
    busy = next(point for point in points if point.totals.requests)
    assert busy.percentiles["ttft"]["p50"] == pytest.approx(400, rel=0.12)


def test_chart_steps_by_key() -> None:
    add(NOW - 3_600, NOW, NOW, key_id=1)
    add(NOW, key_id=2)
    found = group_series(Dimension.KEY, NOW - 7_200, 3_600)

    assert {value: sorted(totals.requests for totals in steps.values()) for value, steps in found.items()} == {
        "1": [1, 2],
        "2": [1],
    }


def test_percentiles_of_one_model_leave_out_the_others() -> None:
    add(NOW, model="a")
    add(NOW, model="b", ending=finished(NOW + 99))

    assert distribution(model="a")["duration"]["p99"] == pytest.approx(1000, rel=0.12)
    assert distribution(model="c")["duration"]["p99"] is None


def test_statistics_take_a_fixed_number_of_queries() -> None:
    add(NOW)
    with CaptureQueriesContext(connection) as captured:
        totals(NOW - 300, now=NOW)
        groups(Dimension.MODEL, NOW - 86_400, now=NOW)
        distribution(NOW - 86_400, now=NOW)
        series(NOW - 3_600, 60, now=NOW)
        group_series(Dimension.KEY, NOW - 3_600, 60)

    assert len(captured) == 6
