"""The writer: bounded, never in the way, and honest about what it could not keep."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from django.db import DataError, OperationalError, connection

from apiproxy.core.errors import FailureKind
from observability.models import ErrorDump, Rollup, Trace
from observability.tracing.columns import WITHHELD
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.store import Record, Store
from observability.tracing.trace_builder import ActiveTrace
from observability.tracing.writer import Writer
from tests.observability.builders import course, draft_of, failed, make_turn, opening
from tests.support.waiting import eventually


class Sink:
    """Keeps what it is given; does first what it is told to."""

    def __init__(self, before: Callable[[Sequence[Record]], None] = lambda records: None) -> None:
        self.before = before
        self.batches: list[list[Record]] = []
        self.tries: list[bool] = []

    def write(self, records: Sequence[Record], *, again: bool = False) -> None:
        self.tries.append(again)
        self.before(records)
        self.batches.append(list(records))

    @property
    def ids(self) -> list[str]:
        return [record.draft.id for batch in self.batches for record in batch]


@contextmanager
def running(writer: Writer) -> Iterator[Writer]:
    writer.start()
    try:
        yield writer
    finally:
        writer.stop(5)


def ended() -> ActiveTrace:
    return draft_of(make_turn(), course())


def begun() -> ActiveTrace:
    return draft_of(make_turn(), opening())


def test_records_are_written_soon_and_together() -> None:
    sink = Sink()
    with running(Writer(sink)) as writer:
        drafts = [begun() for _ in range(20)]
        for draft in drafts:
            writer.started(draft)
        started = time.monotonic()
        eventually(lambda: len(sink.ids) == 20)

    assert time.monotonic() - started < 2.0  # the promise is 0.25 s; a busy machine may need longer
    assert sink.ids == [draft.id for draft in drafts]
    assert len(sink.batches) <= 2


def test_write_short_turn_once_in_final_form() -> None:
    sink = Sink()
    with running(Writer(sink)) as writer:
        draft = ended()
        writer.started(draft)
        writer.ended(draft)
        assert writer.flush(5)

    assert [(record.draft.id, record.final) for batch in sink.batches for record in batch] == [(draft.id, True)]


@pytest.mark.fault(
    "The database", "is unavailable until the buffer of traces is full", trace="dropped, counted and logged"
)
def test_drop_starts_before_endings_when_buffer_is_full() -> None:
    writer = Writer(Sink(), max_pending=10)
    for _ in range(12):
        writer.started(begun())
    assert (writer.pending, writer.dropped) == (8, 4)
    for _ in range(5):
        writer.ended(ended())

    assert (writer.pending, writer.dropped) == (10, 7)
    with running(writer):
        assert writer.flush(5)
    assert writer.pending == 0


def test_retry_until_database_is_back() -> None:
    away = threading.Event()
    away.set()

    def refuse(records: Sequence[Record]) -> None:
        if away.is_set():
            raise OperationalError("database is locked")

    sink = Sink(refuse)
    with running(Writer(sink)) as writer:
        writer.ended(ended())
        eventually(lambda: len(sink.tries) >= 3)
        assert (writer.failing, writer.pending, writer.behind_s > 0) == (True, 1, True)
        away.clear()
        assert writer.flush(10)

    assert sink.tries[0] is False
    assert all(sink.tries[1:])
    assert (writer.failing, writer.dropped, len(sink.ids)) == (False, 0, 1)


def test_write_other_records_when_database_rejects_one() -> None:
    poison = ended()

    def refuse(records: Sequence[Record]) -> None:
        if any(record.draft is poison for record in records):
            raise DataError("invalid byte sequence")

    sink = Sink(refuse)
    good = [ended(), ended()]
    writer = Writer(sink)
    for draft in (good[0], poison, good[1]):
        writer.ended(draft)
    with running(writer):
        assert writer.flush(5)

    assert sink.ids == [draft.id for draft in good]
    assert writer.dropped == 1


def test_wait_for_last_records_up_to_limit() -> None:
    def refuse(records: Sequence[Record]) -> None:
        raise OperationalError("gone")

    writer = Writer(Sink(refuse))
    writer.start()
    writer.ended(ended())
    started = time.monotonic()
    lost = writer.stop(0.5)

    assert (lost, writer.dropped) == (0, 1)
    assert time.monotonic() - started < 5


def test_write_leftovers_at_end() -> None:
    sink = Sink()
    writer = Writer(sink)
    writer.start()
    for _ in range(1_200):
        writer.ended(ended())

    assert writer.stop(10) == 0
    assert len(sink.ids) == 1_200


def test_release_body_of_failed_turn_after_writing() -> None:
    sink = Sink()
    bodies: list[bool] = []
    sink.before = lambda records: bodies.extend(record.draft.body is not None for record in records)
    kept, let_go = draft_of(make_turn(), [*opening(), failed()]), ended()
    writer = Writer(sink)
    writer.ended(kept)
    writer.ended(let_go)
    with running(writer):
        assert writer.flush(5)

    assert bodies == [True, False]
    assert kept.body is let_go.body is None
    assert kept.body_stats.message_count == 1


def test_bound_waiting_bodies_and_withhold_their_errors() -> None:
    first = draft_of(make_turn(body_bytes=900), [*opening(), failed()])
    second = draft_of(make_turn(body_bytes=900), [*opening(), failed(message="quotes the prompt")])
    writer = Writer(Sink(), max_body_bytes=1_000)
    writer.ended(first)
    writer.ended(second)

    assert first.body is not None
    assert second.body is None
    assert _store().values_of(Record(second, final=True))["error_message"] == WITHHELD


def test_keep_own_queue_message_unmasked() -> None:
    said = "The gateway's queue is full."
    asked = {"messages": [{"role": "user", "content": f"why does it say: {said}"}]}
    draft = draft_of(make_turn(body=asked), [failed(kind=FailureKind.QUEUE_FULL, message=said)])

    assert _store().values_of(Record(draft, final=True))["error_message"] == said


def _store() -> Store:
    return Store(node="here", redactor=Redactor(), names=ModelNames())


@contextmanager
def locked_database() -> Iterator[None]:
    """Somebody else holds the database, or the table, for as long as this lasts."""
    other = connection.copy()
    statements = ["BEGIN IMMEDIATE"] if other.vendor == "sqlite" else ["BEGIN", "LOCK TABLE observability_trace"]
    try:
        with other.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            yield
            cursor.execute("ROLLBACK")
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_write_traces_after_database_lock_is_released() -> None:
    with running(Writer(_store())) as writer:
        with locked_database():
            draft = draft_of(make_turn(), [*opening(), failed(kind=FailureKind.STALL, message="silent")])
            writer.started(draft)
            writer.ended(draft)
            assert not writer.flush(0.5)
        assert writer.flush(15)

    trace = Trace.objects.get()
    assert (trace.pk, trace.status, trace.end_reason, writer.dropped) == (draft.id, "error", "stall", 0)
    assert ErrorDump.objects.get().pk == draft.id


@pytest.mark.django_db
def test_count_batch_once_when_its_commit_seemed_lost() -> None:
    records = [Record(ended(), final=True)]
    store = _store()
    store.write(records)
    store.write(records, again=True)

    assert Trace.objects.count() == 1
    assert Rollup.objects.get(resolution_s=3600, dimension="all").requests == 1
