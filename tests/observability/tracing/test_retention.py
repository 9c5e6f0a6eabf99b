"""Retention: only expired rows are deleted, and sums stay consistent with traces."""

import time
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from observability.models import ErrorDump, Rollup, RollupBucket, StoredBody, Trace
from observability.tracing import retention
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.retention import prune
from observability.tracing.store import Record, Store
from tests.observability.builders import course, draft_of, failed, make_turn

pytestmark = pytest.mark.django_db

NOW = 1_790_000_000.0
DAY = 86_400.0


def store(*ages_days: float, **turn: Any) -> None:
    drafts = []
    for age in ages_days:
        at = NOW - age * DAY
        drafts.append(draft_of(make_turn(at=at, store_bodies=True, **turn), course(at, failed(at))))
    Store(node="here", redactor=Redactor(), names=ModelNames()).write([Record(draft, final=True) for draft in drafts])
    StoredBody.objects.update(created_at=datetime.fromtimestamp(NOW, UTC))


def test_old_traces_go_with_their_dumps_bodies_and_sums() -> None:
    store(0.1, 5, 29.9, 31, 400)
    done = prune(trace_days=30, dump_days=365, now=NOW)

    assert (done.traces, Trace.objects.count()) == (2, 3)
    assert ErrorDump.objects.count() == StoredBody.objects.count() == 3
    assert sum(row.requests for row in Rollup.objects.filter(resolution_s=3600, dimension="all")) == 3
    assert not prune(trace_days=30, dump_days=365, now=NOW).any


def test_dumps_and_bodies_go_before_their_traces() -> None:
    store(1, 20)
    StoredBody.objects.filter(trace__received_at__lt=datetime.fromtimestamp(NOW - 10 * DAY, UTC)).update(
        created_at=datetime.fromtimestamp(NOW - 20 * DAY, UTC)
    )
    done = prune(trace_days=30, dump_days=14, now=NOW)

    assert (done.traces, done.dumps, done.bodies) == (0, 1, 1)
    assert Trace.objects.count() == 2


def test_prune_fine_sums_in_hours_and_minutes_in_days() -> None:
    store(0.01, 0.5, 5)
    prune(trace_days=30, now=NOW)

    def requests(resolution: int) -> int:
        return sum(row.requests for row in Rollup.objects.filter(resolution_s=resolution, dimension="all"))

    assert [requests(resolution) for resolution in (10, 60, 900, 3600)] == [1, 2, 2, 3]
    for resolution in (10, 60, 900, 3600):
        buckets = RollupBucket.objects.filter(resolution_s=resolution, dimension="all", metric="duration")
        assert sum(row.count for row in buckets) == requests(resolution)


def test_delete_in_steps_until_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_CHUNK", 2)
    store(*[40.0] * 7)

    assert prune(trace_days=30, now=NOW, stopped=lambda: Trace.objects.count() < 7).traces == 2
    assert prune(trace_days=30, now=NOW).traces == 5


def test_report_number_of_deleted_rows() -> None:
    store((NOW - time.time()) / DAY + 40)
    out = StringIO()
    call_command("prunetraces", stdout=out)
    assert out.getvalue().startswith("1 traces, 1 dumps, 1 bodies, ")
    with pytest.raises(CommandError):
        call_command("prunetraces", "--days=-1")


def test_made_up_traces_are_like_real_ones() -> None:
    out = StringIO()
    call_command("filltraces", "400", "--days=2", "--seed=5", stdout=out)

    assert "400 traces in" in out.getvalue()
    assert Trace.objects.count() == 400
    assert sum(row.requests for row in Rollup.objects.filter(resolution_s=3600, dimension="all")) == 400
    assert set(Trace.objects.values_list("status", flat=True)) == {"completed", "error", "cancelled", "refused"}
    for trace in Trace.objects.all():
        trace.full_clean(exclude=["id"])
        phases = [
            trace.received_at, trace.queued_at, trace.admitted_at, trace.worker_ready_at, trace.first_event_at,
            trace.first_token_at, trace.last_event_at, trace.finished_at,
        ]  # fmt: skip
        reached = [at for at in phases if at is not None]
        assert reached == sorted(reached)
    with pytest.raises(CommandError):
        call_command("filltraces", "0")
