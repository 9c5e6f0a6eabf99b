"""Traces from events to rows: stored and omitted parts of a request."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Event, Failed, Finished, Usage
from observability.models import ErrorDump, Rollup, RollupBucket, StoredBody, Trace
from observability.stats.rollup import HOUR_S, OTHER_MODEL, SUMS
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.store import Record, Store
from tests.observability.builders import NOW, course, draft_of, failed, finished, left, make_turn, opening, refused

pytestmark = pytest.mark.django_db

SECRET = "sk-ant-api03-very-secret-0123456789"
PROMPT = "Our merger with Initech closes on 2031-05-17, tell nobody"


def make_store(*secrets: str, process: str = "here|1") -> Store:
    return Store(node="here", process=process, redactor=Redactor(secrets), names=ModelNames())


def everything_stored() -> str:
    rows = [row for model in (Trace, ErrorDump, StoredBody, Rollup) for row in model.objects.values()]
    return json.dumps(rows, default=str)


def test_fill_row_of_successful_run() -> None:
    body = {
        "messages": [{"role": "user", "content": "Hello there"}],
        "system": "Be kind",
        "tools": [{"name": "t"}],
        "thinking": {"type": "adaptive"},
    }
    draft = draft_of(make_turn(body=body, conversation_id="c-1"), course())
    make_store().write([Record(draft, final=True)])

    trace = Trace.objects.get()
    assert (trace.pk, trace.node, trace.key_id, trace.key_label) == (draft.id, "here", 7, "team")
    assert (trace.model, trace.requested_model, trace.dialect) == ("claude-sonnet-5", "sonnet", "anthropic")
    assert (trace.message_count, trace.prompt_chars, trace.system_chars, trace.tool_count) == (1, 11, 7, 1)
    assert (trace.thinking, trace.stream, trace.conversation_id) == (True, True, "c-1")
    assert (trace.status, trace.end_reason, trace.stop_reason, trace.phase) == (
        "completed", "completed", "end_turn", "finished",
    )  # fmt: skip
    assert (trace.queue_ms, trace.ttft_ms, trace.duration_ms) == (200, 400, 1000)
    assert (trace.input_tokens, trace.output_tokens) == (100, 20)
    assert (trace.cache_read_tokens, trace.cache_creation_tokens, trace.cost_micro_usd) == (30, 40, 12_300)
    assert (trace.output_chars, trace.event_count, trace.worker_pid) == (9, 4, 4711)
    assert trace.first_event_at is not None
    assert trace.first_event_at.timestamp() == pytest.approx(NOW + 0.3)
    assert not ErrorDump.objects.exists()
    assert not StoredBody.objects.exists()


def test_insert_row_during_run_and_update_it_at_end() -> None:
    store, turn = make_store(), make_turn()
    draft = draft_of(turn, opening())
    store.write([Record(draft, final=False)])
    before = Trace.objects.get()
    for event in course()[3:]:
        draft.apply(event)
    store.write([Record(draft, final=True)])
    after = Trace.objects.get()

    assert (before.status, before.phase, before.finished_at) == ("active", "worker_ready", None)
    assert (after.status, after.received_at) == ("completed", before.received_at)
    assert not Rollup.objects.exclude(requests=1).exists()


def test_keep_ended_trace_when_its_start_is_written_late() -> None:
    make_store().write([Record(draft_of(make_turn(), course()), final=False)])

    trace = Trace.objects.get()
    assert (trace.status, trace.end_reason, trace.finished_at, trace.duration_ms) == ("active", "", None, None)
    assert not Rollup.objects.exists()


def test_keep_dump_with_diagnostics_of_failed_run() -> None:
    turn = make_turn(body={"max_tokens": 9, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 7}})
    draft = draft_of(turn, [*opening(), failed(stderrTail="it broke here", workerPid=4711)])
    make_store().write([Record(draft, final=True)])

    trace, dump = Trace.objects.get(), ErrorDump.objects.get().data
    assert (trace.error_type, trace.error_message, trace.error_phase) == (
        "upstream_error", "Overloaded", "worker_ready",
    )  # fmt: skip
    assert (trace.upstream_status, trace.upstream_type) == (529, "overloaded_error")
    assert dump["error"]["type"] == "upstream_error"
    assert dump["upstream"] == {"status": 529, "type": "overloaded_error"}
    assert dump["diagnostics"] == {"stderrTail": "it broke here", "workerPid": 4711}
    assert dump["request"]["options"] == {
        "max_tokens": 9, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 7},
    }  # fmt: skip
    assert set(dump["phases"]) == {"received", "queued", "admitted", "worker_ready", "finished"}


@pytest.mark.parametrize("event", [refused(), left(), finished()], ids=["refused", "left", "finished"])
def test_dump_only_failures(event: Event) -> None:
    make_store().write([Record(draft_of(make_turn(), [event]), final=True)])

    assert not ErrorDump.objects.exists()


def test_neither_secrets_nor_the_clients_words_are_in_any_row() -> None:
    body = {
        "model": "sonnet",
        "system": f"System: {PROMPT}",
        "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}],
        "tools": [{"name": "transfer_funds_9000", "description": PROMPT, "input_schema": {"enum": [PROMPT]}}],
        "metadata": {"user_id": "person-4711-private"},
        "tool_choice": {"type": "tool", "name": "transfer_funds_9000"},
        "temperature": PROMPT,
    }
    message = f"messages.0: {json.dumps(PROMPT)} with transfer_funds_9000 for person-4711-private, key {SECRET}"
    stderr = f"Authorization: Bearer {SECRET}\nbody: {json.dumps(body)}\nknown: credential-of-ours"
    draft = draft_of(
        make_turn(body=body), [*opening(), failed(message=message, stderrTail=stderr, env={"TOKEN": "abc"})]
    )
    make_store("credential-of-ours").write([Record(draft, final=True)])

    stored = everything_stored()
    for word in (SECRET, "credential-of-ours", "Initech", "2031-05-17", "transfer_funds_9000", "person-4711-private"):
        assert word not in stored
    assert "[prompt]" in stored


def test_store_bodies_without_credentials_for_such_keys() -> None:
    body = {"messages": [{"role": "user", "content": f"{PROMPT} {SECRET}"}]}
    make_store().write([Record(draft_of(make_turn(body=body, store_bodies=True), course()), final=True)])

    kept = StoredBody.objects.get()
    assert kept.request == {"messages": [{"role": "user", "content": f"{PROMPT} [redacted]"}]}
    assert kept.answer == {"content": [{"type": "text", "text": "Hello you"}], "cut": False}


def test_omit_body_that_is_too_large() -> None:
    make_store().write([Record(draft_of(make_turn(store_bodies=True, body_bytes=3 * 2**20), course()), final=True)])

    assert StoredBody.objects.get().request is None


def test_text_that_a_database_refuses_is_made_storable() -> None:
    turn = make_turn(
        model="m\x00\ud800", requested_model="x" * 5_000, conversation_id="c\x00", id="req_\x00" + "y" * 500,
        body={"messages": [{"role": "user", "content": "\ud800\x00"}]},
    )  # fmt: skip
    make_store().write([Record(draft_of(turn, [*opening(), failed(message="\x00" * 5_000)]), final=True)])

    trace = Trace.objects.get()
    assert (trace.model, len(trace.requested_model), trace.conversation_id) == ("m��", 200, "c�")
    assert len(trace.error_message) == 1_000


def test_figures_that_make_no_sense_do_not_lose_the_trace() -> None:
    wild = Usage(10**30, -5, 0, 0, -1.0)
    make_store().write([Record(draft_of(make_turn(), [*opening(), finished(usage=wild)]), final=True)])

    trace = Trace.objects.get()
    assert (trace.input_tokens, trace.output_tokens, trace.cost_micro_usd) == (2**62, 0, 0)


def test_mark_traces_left_active_by_crash_once() -> None:
    store = make_store()
    lost = [draft_of(make_turn(), opening()) for _ in range(3)]
    theirs = draft_of(make_turn(), opening())
    store.write([Record(draft, final=False) for draft in lost])
    make_store(process="there|1").write([Record(theirs, final=False)])
    store.write([Record(draft_of(make_turn(), course()), final=True)])

    assert make_store().mark_interrupted("here|1") == 3
    assert make_store().mark_interrupted("here|1") == 0
    interrupted = Trace.objects.filter(status="interrupted", end_reason="interrupted")
    assert {trace.pk for trace in interrupted} == {draft.id for draft in lost}
    assert Trace.objects.get(pk=theirs.id).status == "active"
    sums = Rollup.objects.filter(resolution_s=HOUR_S, dimension="all")
    assert sum(row.interrupted for row in sums) == 3
    assert sum(row.requests for row in sums) == 4


def test_models_that_never_answered_are_summed_as_other() -> None:
    draft = draft_of(make_turn(model="invented-by-a-client"), [refused()])
    draft.model_label = ModelNames().label(draft.turn.model)
    make_store().write([Record(draft, final=True)])

    assert set(Rollup.objects.filter(dimension="model").values_list("value", flat=True)) == {OTHER_MODEL}


_endings = st.sampled_from(
    [
        finished(), left(), refused(), failed(), failed(kind=FailureKind.STALL),
        failed(kind=FailureKind.QUEUE_TIMEOUT), Failed(NOW + 3, ProxyError(FailureKind.DRAINING, "bye")),
        Finished(NOW + 7_200, "max_tokens", Usage(5, 6, 7, 8)),
    ]
)  # fmt: skip
_turns = st.lists(
    st.tuples(st.sampled_from([1, 2, None]), st.sampled_from(["a", "b"]), _endings, st.integers(0, 7_200)), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_turns, st.integers(1, 5))
def test_sum_traces_of_any_batching(turns: Sequence[tuple[int | None, str, Event, int]], size: int) -> None:
    for model in (ErrorDump, StoredBody, Trace, Rollup, RollupBucket):
        model.objects.all().delete()
    drafts = []
    for key, model_name, ending, offset in turns:
        turn = make_turn(at=NOW + offset, key_id=key, model=model_name)
        shifted = type(ending)(ending.at + offset, *[getattr(ending, name) for name in ending.__match_args__[1:]])
        drafts.append(draft_of(turn, course(NOW + offset, shifted)))
    store = make_store()
    for start in range(0, len(drafts), size):
        store.write([Record(draft, final=True) for draft in drafts[start : start + size]])

    traces = list(Trace.objects.all())
    assert len(traces) == len(drafts)
    for resolution in (10, 60, 900, 3600):
        rows = list(Rollup.objects.filter(resolution_s=resolution, dimension="all"))
        total = {name: sum(getattr(row, name) for row in rows) for name in SUMS}
        assert total["requests"] == len(traces)
        assert total["errors"] == sum(trace.status == "error" for trace in traces)
        assert total["output_tokens"] == sum(trace.output_tokens for trace in traces)
        assert total["cost_micro_usd"] == sum(trace.cost_micro_usd or 0 for trace in traces)
        ran = [trace for trace in traces if trace.status != "refused"]
        assert total["duration_ms"] == sum(trace.duration_ms or 0 for trace in ran)
        buckets = RollupBucket.objects.filter(resolution_s=resolution, dimension="all", metric="duration")
        assert sum(row.count for row in buckets) == len(ran)
    by_key = Rollup.objects.filter(resolution_s=3600, dimension="key")
    assert sum(row.requests for row in by_key) == sum(trace.key_id is not None for trace in traces)
    assert sum(row.requests for row in Rollup.objects.filter(resolution_s=60, dimension="model")) == len(traces)
