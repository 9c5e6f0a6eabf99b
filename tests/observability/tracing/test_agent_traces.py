"""Rows of agent runs: what is stored of their steps, and what is not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Event, StepKind
from observability.models import AgentSteps, ErrorDump, Rollup, StoredBody, Trace
from observability.stats.rollup import HOUR_S
from observability.tracing.columns import WITHHELD
from observability.tracing.model_labels import ModelNames
from observability.tracing.recorder import Recorder
from observability.tracing.redact import Redactor
from observability.tracing.refusal_sampling import RejectionSampler
from observability.tracing.retention import prune
from observability.tracing.steps import MAX_STEPS
from observability.tracing.store import Record, Store, write_traces
from observability.tracing.synthetic import synthetic_traces
from observability.tracing.trace_builder import ActiveTrace
from observability.tracing.writer import Writer
from tests.observability.builders import (
    NOW,
    agent_course,
    agent_steps,
    draft_of,
    failed,
    make_agent_turn,
    opening,
    step,
)

pytestmark = pytest.mark.django_db

SECRET = "sk-ant-api03-very-secret-0123456789"


def store() -> Store:
    return Store(node="here", process="here|1", redactor=Redactor(), names=ModelNames())


def written(*events: Event, **turn: Any) -> Trace:
    store().write([Record(draft_of(make_agent_turn(**turn), events), final=True)])
    return Trace.objects.get()


def everything_stored() -> str:
    models = (Trace, AgentSteps, ErrorDump, StoredBody, Rollup)
    return json.dumps([row for model in models for row in model.objects.values()], default=str)


def test_store_agent_counts_and_steps() -> None:
    trace = written(*agent_course())
    assert (trace.agent, trace.model, trace.engine) == ("support-bot@3", "support-bot", "agents")
    assert (trace.model_calls, trace.tool_calls) == (2, 2)
    kept = AgentSteps.objects.get()
    assert (kept.pk, kept.omitted) == (trace.pk, 0)
    model, search, note, _ = kept.steps
    assert model == {
        "id": "m1", "kind": "model_call", "name": "claude-sonnet-5", "call": 1, "at_ms": 300.0, "ms": 200.0,
        "failed": False, "error": "", "parent": "", "cost_usd": 0.01,
        "usage": {
            "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 0,
        },
    }  # fmt: skip
    assert (search["name"], search["ms"], note["failed"]) == ("handbook/search", 100.0, True)


def test_store_no_words_of_tools_for_other_keys() -> None:
    written(*agent_course())
    stored = everything_stored()
    for words in ("opening hours", "From 9 to 5", "Jane Doe"):
        assert words not in stored


def test_store_arguments_and_results_without_credentials_for_keys_with_bodies() -> None:
    call = step(
        "t9", StepKind.TOOL_CALL, "agent/Bash", at=NOW + 0.5, length_s=0.1, arguments={"command": f"curl -H {SECRET}"},
        result=f"Authorization: Bearer {SECRET}", failed=True, error=f"exit 1: {SECRET}",
    )  # fmt: skip
    written(*opening(), *agent_steps(), call, agent_course()[-1], store_bodies=True)
    contents: Any = StoredBody.objects.get().steps
    assert contents["t1"] == {
        "arguments": {"query": "opening hours"}, "result": [{"type": "text", "text": "From 9 to 5"}],
    }  # fmt: skip
    assert contents["t9"]["arguments"] == {"command": "curl -H [redacted]"}
    assert SECRET not in everything_stored()
    errors = {found["id"]: found["error"] for found in AgentSteps.objects.get().steps}
    assert errors["t2"] == "The ticket of Jane Doe is closed"
    assert errors["t9"] == "exit 1: [redacted]"


@pytest.mark.parametrize("kind", [StepKind.TOOL_CALL, StepKind.DENIED])
def test_keep_machine_readable_errors_of_tools(kind: StepKind) -> None:
    call = step("t1", kind, "handbook/search", at=NOW + 0.5, length_s=30, failed=True, error="timeout")
    written(*opening(), call, agent_course()[-1])
    assert AgentSteps.objects.get().steps[0]["error"] == "timeout"


def test_mask_prompt_in_errors_of_model_calls() -> None:
    body = {"messages": [{"role": "user", "content": "Our merger with Initech closes on 2031-05-17"}]}
    message = "messages.0: 'Our merger with Initech closes on 2031-05-17' is too long"
    call = step("m1", StepKind.MODEL_CALL, "claude-sonnet-5", at=NOW + 0.3, length_s=1, failed=True, error=message)
    written(*opening(), call, failed(), body=body)
    assert "Initech" not in everything_stored()
    assert "[prompt]" in AgentSteps.objects.get().steps[0]["error"]


def test_withhold_error_texts_once_the_body_is_gone() -> None:
    call = step("m1", StepKind.MODEL_CALL, "claude-sonnet-5", at=NOW, length_s=1, failed=True, error="What a text!")
    draft = draft_of(make_agent_turn(), [*opening(), call, agent_course()[-1]])
    draft.release_body()
    store().write([Record(draft, final=True)])
    assert AgentSteps.objects.get().steps[0]["error"] == WITHHELD


def test_text_that_a_database_refuses_is_made_storable() -> None:
    wild = step(
        "\x00\ud800", StepKind.TOOL_CALL, "a/\x00\ud800", at=NOW, ended_at=float("inf"), parent_id="\x00",
        arguments={"\x00": "\ud800"}, result="\x00", error="\x00", failed=True, number=-5,
    )  # fmt: skip
    written(*opening(), wild, agent_course()[-1], store_bodies=True)
    (found,) = AgentSteps.objects.get().steps
    assert (found["name"], found["call"], found["ms"]) == ("a/��", 0, None)


@pytest.mark.django_db(transaction=True)
def test_write_steps_during_run_and_complete_them_at_its_end() -> None:
    turn, events = make_agent_turn(), agent_course()
    writer = Writer(store())
    recorder = Recorder([RejectionSampler(writer)], names=ModelNames())
    writer.start()
    try:
        for event in events[:6]:
            recorder.on_event(turn, event)
        assert writer.flush(10)
        assert [found["ms"] for found in AgentSteps.objects.get().steps] == [200.0, None]
        assert Trace.objects.get().status == "active"
        for event in events[6:]:
            recorder.on_event(turn, event)
        assert writer.flush(10)
    finally:
        writer.stop(5)
    assert len(AgentSteps.objects.get().steps) == 4
    assert Trace.objects.get().status == "completed"


def test_drop_steps_when_their_memory_is_used_up() -> None:
    writer = Writer(store(), max_body_bytes=1_000)
    draft = draft_of(make_agent_turn(store_bodies=True), agent_course())
    writer.ended(draft)
    assert draft.steps is not None
    assert (draft.steps.steps(), draft.steps.omitted, draft.body) == ([], 4, None)
    assert draft.steps.model_calls == 2


@pytest.mark.django_db(transaction=True)
def test_return_memory_of_written_steps() -> None:
    writer = Writer(store(), max_body_bytes=20_000)
    writer.start()
    try:
        for _ in range(20):
            draft = draft_of(make_agent_turn(), agent_course())
            writer.ended(draft)
            assert writer.flush(10)
    finally:
        writer.stop(5)
    assert AgentSteps.objects.filter(omitted=0).count() == 20


def test_sum_runs_by_agent() -> None:
    written(*agent_course())
    row = Rollup.objects.get(dimension="agent", resolution_s=HOUR_S)
    assert (row.value, row.requests, row.output_tokens) == ("support-bot", 1, 20)


def test_keep_what_an_interrupted_run_did() -> None:
    turn = make_agent_turn()
    store().write([Record(draft_of(turn, [*opening(), *agent_steps()[:3]]), final=False)])
    assert store().mark_interrupted("here|1") == 1
    assert Trace.objects.get().status == "interrupted"
    assert [found["id"] for found in AgentSteps.objects.get().steps] == ["m1", "t1"]
    assert Rollup.objects.get(dimension="agent", resolution_s=HOUR_S).interrupted == 1


def test_delete_steps_with_their_trace_and_contents_before() -> None:
    written(*agent_course(), store_bodies=True)
    StoredBody.objects.update(created_at=datetime.fromtimestamp(NOW, UTC))
    prune(trace_days=60, dump_days=14, now=NOW + 20 * 86_400)
    assert (StoredBody.objects.count(), AgentSteps.objects.count()) == (0, 1)
    prune(trace_days=10, now=NOW + 20 * 86_400)
    assert AgentSteps.objects.count() == 0


def test_fill_with_runs_of_agents() -> None:
    until = datetime.now(UTC) - timedelta(minutes=9)
    traces = list(synthetic_traces(400, days=1, until=until, seed=5))
    write_traces(traces)
    agents = [trace for trace in traces if trace["agent"]]
    assert 10 < len(agents) < 80
    assert AgentSteps.objects.count() == len(agents)
    for trace in agents:
        assert len(trace["steps"]) <= MAX_STEPS
        for found in trace["steps"]:
            assert 0 <= found["at_ms"] <= found["at_ms"] + found["ms"] <= trace["duration_ms"] + 10_000
    assert any(found["failed"] for trace in agents for found in trace["steps"])


def test_refuse_agent_run_without_steps() -> None:
    draft: ActiveTrace = draft_of(make_agent_turn(), [failed(kind=FailureKind.RATE_LIMITED)])
    store().write([Record(draft, final=True)])
    assert (Trace.objects.get().agent, AgentSteps.objects.get().steps) == ("support-bot@3", [])
