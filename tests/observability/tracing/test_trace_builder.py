"""Folding of a turn's events into its trace."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.events import Admitted, Cancelled, CancelReason, Event, Failed, Queued, Retrying, Streamed, Usage
from observability.tracing.trace_builder import MAX_EVENT_TYPES, ActiveTrace
from observability.vocabulary import EndReason, Phase, Status, end_reason_of, status_of
from tests.observability.builders import (
    NOW,
    USAGE,
    answer,
    course,
    draft_of,
    failed,
    finished,
    left,
    make_turn,
    message_start,
    opening,
    refused,
    text_delta,
)

_PHASES = (
    "received_at", "queued_at", "admitted_at", "worker_ready_at", "first_event_at", "first_token_at", "last_event_at",
    "finished_at",
)  # fmt: skip


def test_record_every_phase_in_order_with_totals() -> None:
    draft = draft_of(make_turn(), course())

    times = [getattr(draft, name) for name in _PHASES]
    assert times == [NOW, NOW + 0.001, NOW + 0.201, NOW + 0.211, NOW + 0.3, NOW + 0.4, NOW + 0.5, NOW + 1.0]
    assert (draft.status, draft.end_reason, draft.phase) == (Status.COMPLETED, EndReason.COMPLETED, Phase.FINISHED)
    assert draft.event_types == {"message_start": 1, "content_block_start": 1, "content_block_delta": 2}
    assert (draft.event_count, draft.output_chars, draft.tool_calls) == (4, 9, 0)
    assert (draft.usage, draft.stop_reason, draft.worker_pid) == (USAGE, "end_turn", 4711)
    assert (draft.response_id, draft.response_model) == ("msg_1", "claude-sonnet-5-20260101")


def test_keep_upstream_id_of_the_attempt_that_counts() -> None:
    def streamed(request_id: str) -> Streamed:
        return Streamed(NOW + 0.3, [message_start()], headers={"x-upstream-request-id": request_id})

    lost = ProxyError(FailureKind.CONNECTION_LOST, "lost")
    events = [*opening(), streamed("req_01"), Retrying(NOW + 0.4, lost), *opening(NOW + 0.4)]
    assert draft_of(make_turn(), events).upstream_request_id == ""
    assert draft_of(make_turn(), [*events, streamed("req_02"), finished()]).upstream_request_id == "req_02"

    refusal = UpstreamError(429, "rate_limit_error", headers={"x-upstream-request-id": "req_03"})
    ending = Failed(NOW + 1, ProxyError(FailureKind.UPSTREAM_ERROR, "no", upstream=refusal))
    assert draft_of(make_turn(), [*opening(), ending]).upstream_request_id == "req_03"
    cut = Failed(NOW + 1, ProxyError(FailureKind.UPSTREAM_ERROR, "no", upstream=UpstreamError(529, "overloaded_error")))
    assert draft_of(make_turn(), [*opening(), streamed("req_04"), cut]).upstream_request_id == "req_04"


def test_accept_batch_without_known_events() -> None:
    draft = draft_of(make_turn(), [*opening(), Streamed(NOW + 0.3, [], b"event: new\n\n"), finished()])
    assert (draft.event_count, draft.last_event_type, draft.first_event_at) == (0, "", NOW + 0.3)


def test_name_no_engine_for_rejected_request() -> None:
    assert draft_of(make_turn(engine="http"), course()).engine == "http"
    assert draft_of(make_turn(engine="http"), [refused()]).engine == ""


def test_text_thinking_and_tool_arguments_all_count_as_output() -> None:
    deltas: list[dict[str, Any]] = [
        {"type": "text_delta", "text": "ab"},
        {"type": "thinking_delta", "thinking": "cde"},
        {"type": "input_json_delta", "partial_json": '{"x'},
        {"type": "signature_delta", "signature": "not output"},
        {"type": "citations_delta", "citation": {"cited_text": "not output"}},
    ]
    draft = draft_of(make_turn(), opening())
    draft.add_stream(NOW + 1, [{"type": "content_block_delta", "delta": delta} for delta in deltas])

    assert draft.output_chars == 8


def test_tool_calls_of_every_kind_are_counted() -> None:
    kinds = ("text", "tool_use", "server_tool_use", "mcp_tool_use", "tool_use", "thinking")
    starts: list[dict[str, Any]] = [{"type": "content_block_start", "content_block": {"type": kind}} for kind in kinds]
    draft = draft_of(make_turn(), opening())
    draft.add_stream(NOW + 1, starts)

    assert draft.tool_calls == 4


@pytest.mark.parametrize("kind", list(FailureKind))
def test_give_every_failure_kind_end_reason_and_status(kind: FailureKind) -> None:
    assert isinstance(status_of(end_reason_of(kind)), Status)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FailureKind.STALL, EndReason.STALL),
        (FailureKind.MAX_DURATION, EndReason.MAX_DURATION),
        (FailureKind.MAX_OUTPUT, EndReason.MAX_OUTPUT),
        (FailureKind.QUEUE_TIMEOUT, EndReason.QUEUE_TIMEOUT),
        (FailureKind.UPSTREAM_ERROR, EndReason.UPSTREAM_ERROR),
        (FailureKind.CONNECTION_LOST, EndReason.UPSTREAM_ERROR),
        (FailureKind.WORKER_DIED, EndReason.WORKER_DIED),
        (FailureKind.INTERNAL, EndReason.INTERNAL),
        (FailureKind.DRAINING, EndReason.INTERRUPTED),
    ],
)
def test_record_reason_and_phase_of_failed_run(kind: FailureKind, reason: EndReason) -> None:
    draft = draft_of(make_turn(), [*opening(), failed(kind=kind)])

    assert draft.end_reason is reason
    assert draft.failure is not None
    assert draft.failure.phase is Phase.WORKER_READY


@pytest.mark.parametrize(
    "kind", [FailureKind.UNAUTHENTICATED, FailureKind.INVALID_REQUEST, FailureKind.RATE_LIMITED, FailureKind.QUEUE_FULL]
)
def test_record_rejected_request_as_never_run(kind: FailureKind) -> None:
    draft = draft_of(make_turn(), [refused(kind=kind)])

    assert (draft.status, draft.end_reason) == (Status.REFUSED, EndReason.REFUSED)
    assert draft.admitted_at is None
    assert draft.failure is not None
    assert draft.failure.phase is Phase.RECEIVED


def test_tell_disconnect_from_operator_cancel() -> None:
    gone = draft_of(make_turn(), course(ending=left()))
    cancelled = draft_of(make_turn(), course(ending=Cancelled(NOW + 1, CancelReason.OPERATOR)))

    assert (gone.end_reason, cancelled.end_reason) == (EndReason.CLIENT_DISCONNECT, EndReason.CANCELLED)
    assert gone.status is cancelled.status is Status.CANCELLED


def test_keep_counts_of_stream_if_ending_has_none() -> None:
    said: list[Event] = [
        Streamed(NOW + 1, [message_start(input_tokens=11, cache_read_input_tokens=5, output_tokens=1)]),
        Streamed(NOW + 2, [{"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}]),
        Failed(NOW + 3, ProxyError(FailureKind.STALL, "silent")),
    ]
    draft = draft_of(make_turn(), [*opening(), *said])

    assert draft.usage == Usage(11, 9, 5, 0)


def test_forget_first_attempt_at_second_one() -> None:
    lost = ProxyError(FailureKind.CONNECTION_LOST, "lost")
    draft = draft_of(make_turn(), [*opening(), *answer(), Retrying(NOW + 0.6, lost)])

    assert (draft.phase, draft.retries, draft.output_chars) == (Phase.ADMITTED, 1, 0)
    assert (draft.worker_pid, draft.first_event_at, draft.event_types) == (None, None, {})
    assert draft.admitted_at == NOW + 0.201


def test_ignore_events_after_the_end() -> None:
    draft = draft_of(make_turn(), course())
    before = {name: getattr(draft, name) for name in _PHASES} | {"types": dict(draft.event_types)}

    assert not draft.apply(Streamed(NOW + 9, [text_delta("late")]))
    assert not draft.apply(failed(NOW + 9))
    assert {name: getattr(draft, name) for name in _PHASES} | {"types": draft.event_types} == before


def test_keep_phases_in_order_when_clock_goes_back() -> None:
    events: list[Event] = [Queued(NOW + 5, 0), Admitted(NOW - 3600), *answer(NOW - 3600), finished(NOW - 3600)]
    draft = draft_of(make_turn(), events)

    times = [at for at in (getattr(draft, name) for name in _PHASES) if at is not None]
    assert times == sorted(times)


_garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_texts = st.text(max_size=20)
_known = st.one_of(
    _texts.map(text_delta),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["content_block_delta", "content_block_start", "message_delta", "message_start"])},
        optional={"delta": _garbage, "content_block": _garbage, "message": _garbage, "usage": _garbage},
    ),
    st.fixed_dictionaries({"type": _garbage}),
)


@given(st.lists(st.lists(_known, min_size=1, max_size=5), max_size=12))
def test_fold_any_stream_and_count_events_once(batches: list[list[dict[str, Any]]]) -> None:
    draft = draft_of(make_turn(), opening())
    for number, batch in enumerate(batches):
        draft.apply(Streamed(NOW + number, batch))
    draft.apply(finished(NOW + 99))

    assert draft.event_count == sum(map(len, batches))
    assert len(draft.event_types) <= MAX_EVENT_TYPES + 1
    assert all(isinstance(kind, str) for kind in draft.event_types)


@given(st.lists(st.lists(_texts, min_size=1, max_size=5), min_size=1, max_size=12))
def test_measure_output_of_any_batching(batches: list[list[str]]) -> None:
    draft = draft_of(make_turn(), opening())
    for number, batch in enumerate(batches):
        draft.apply(Streamed(NOW + number, [text_delta(text) for text in batch]))
    whole = draft_of(make_turn(), opening())
    whole.apply(Streamed(NOW, [text_delta(text) for batch in batches for text in batch]))

    assert draft.output_chars == whole.output_chars == sum(len(text) for batch in batches for text in batch)
    assert draft.event_types == whole.event_types


@given(st.lists(st.floats(min_value=NOW - 10, max_value=NOW + 10), min_size=7, max_size=7))
def test_phases_are_in_order_for_any_clock(times: list[float]) -> None:
    draft = ActiveTrace(make_turn())
    for at, event in zip(times, course(), strict=True):
        draft.apply(type(event)(at, *[getattr(event, name) for name in event.__match_args__[1:]]))

    known = [at for at in (getattr(draft, name) for name in _PHASES) if at is not None]
    assert known == sorted(known)


def test_keep_measures_of_dropped_body() -> None:
    body = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "four"}]},
            {"role": "user", "content": "six!!!"},
        ],
        "system": [{"type": "text", "text": "sys"}],
        "tools": [{"name": "a"}, {"name": "b"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    draft = ActiveTrace(make_turn(body=body))
    draft.release_body()

    stats = draft.body_stats
    assert draft.body is None
    assert draft.turn.body == {}
    assert (stats.message_count, stats.prompt_chars, stats.system_chars) == (2, 10, 3)
    assert (stats.tool_count, stats.thinking) == (2, True)


@given(st.dictionaries(st.sampled_from(["messages", "system", "tools", "thinking", "model"]), _garbage))
def test_measure_body_of_any_shape(body: dict[str, Any]) -> None:
    assert ActiveTrace(make_turn(body=body)).body_stats.prompt_chars >= 0
