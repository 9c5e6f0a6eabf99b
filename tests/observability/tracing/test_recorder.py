"""Recorder: traces of running turns, and notification of listeners."""

import logging

import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Streamed
from apiproxy.runs.observers import Observers
from observability.stats.rollup import OTHER_MODEL
from observability.tracing import recorder as recorder_module
from observability.tracing.model_labels import ModelNames
from observability.tracing.recorder import Listener, Recorder
from observability.tracing.refusal_sampling import RejectionSampler
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Phase
from tests.observability.builders import (
    NOW,
    answer,
    course,
    draft_of,
    failed,
    finished,
    make_turn,
    opening,
    refused,
    text_delta,
)


class RecordingListener(Listener):
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, Phase]] = []
        self.drafts: list[ActiveTrace] = []

    def _note(self, what: str, draft: ActiveTrace) -> None:
        self.heard.append((what, draft.id, draft.phase))

    def started(self, draft: ActiveTrace) -> None:
        self._note("started", draft)

    def changed(self, draft: ActiveTrace) -> None:
        self._note("changed", draft)

    def stalled(self, draft: ActiveTrace) -> None:
        self._note("stalled", draft)

    def ended(self, draft: ActiveTrace) -> None:
        self._note("ended", draft)
        self.drafts.append(draft)


class Broken(RecordingListener):
    def _note(self, what: str, draft: ActiveTrace) -> None:
        raise RuntimeError("broken listener")


def make_recorder(*listeners: RecordingListener) -> Recorder:
    return Recorder(listeners, names=ModelNames())


def test_listeners_hear_of_each_phase_once_and_of_no_batch() -> None:
    listener, turn = RecordingListener(), make_turn()
    recorder = make_recorder(listener)
    for event in course():
        recorder.on_event(turn, event)

    assert [(what, phase) for what, _, phase in listener.heard] == [
        ("started", Phase.QUEUED),
        ("changed", Phase.ADMITTED),
        ("changed", Phase.WORKER_READY),
        ("changed", Phase.FIRST_EVENT),
        ("changed", Phase.STREAMING),
        ("ended", Phase.FINISHED),
    ]
    assert recorder.active() == []


def test_report_rejected_request_once() -> None:
    listener = RecordingListener()
    make_recorder(listener).on_event(make_turn(), refused())

    assert [what for what, _, _ in listener.heard] == ["ended"]


def test_list_and_find_active_requests() -> None:
    recorder, first, second = make_recorder(), make_turn(), make_turn()
    for turn in (first, second):
        for event in opening():
            recorder.on_event(turn, event)

    assert [draft.id for draft in recorder.active()] == [first.id, second.id]
    found = recorder.find(first.id)
    assert found is not None
    assert found.phase is Phase.WORKER_READY
    assert recorder.find("req_unknown") is None


def test_ignore_late_events_and_second_endings() -> None:
    listener, turn = RecordingListener(), make_turn()
    recorder = make_recorder(listener)
    for event in [*course(), Streamed(NOW + 9, [text_delta("late")]), finished(NOW + 9), failed(NOW + 9)]:
        recorder.on_event(turn, event)

    assert recorder.active() == []
    assert [what for what, _, _ in listener.heard].count("ended") == 1


def test_ignore_turn_whose_start_was_missed() -> None:
    listener = RecordingListener()
    recorder = make_recorder(listener)
    recorder.on_event(make_turn(), Streamed(NOW, [text_delta("x")]))

    assert (recorder.active(), listener.heard) == ([], [])


def test_call_listeners_after_one_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    listener, turn = RecordingListener(), make_turn()
    recorder = make_recorder(Broken(), listener)
    with caplog.at_level(logging.CRITICAL, logger="observability.tracing.recorder"):
        for event in course():
            recorder.on_event(turn, event)

    assert listener.heard[-1][0] == "ended"


def test_count_silent_upstream_at_every_check() -> None:
    listener, silent, waiting, talking = RecordingListener(), make_turn(), make_turn(), make_turn()
    recorder = make_recorder(listener)
    for turn, events in ((silent, opening()), (waiting, opening()[:1]), (talking, [*opening(), *answer(NOW + 29)])):
        for event in events:
            recorder.on_event(turn, event)

    assert recorder.count_stalls(NOW + 20) == 0
    assert recorder.count_stalls(NOW + 35) == 1
    assert recorder.count_stalls(NOW + 50) == 1
    recorder.on_event(silent, Streamed(NOW + 51, [text_delta("here")]))
    assert recorder.count_stalls(NOW + 55) == 0
    stalled = recorder.find(silent.id)
    assert stalled is not None
    assert stalled.stalls == 2
    assert ("stalled", silent.id, Phase.WORKER_READY) in listener.heard


def test_bound_number_of_active_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "MAX_ACTIVE", 2)
    recorder = make_recorder()
    for _ in range(3):
        recorder.on_event(make_turn(), opening()[0])

    assert (len(recorder.active()), recorder.overflowed) == (2, 1)


def test_gaps_are_measured_between_arrivals_of_output() -> None:
    gaps: list[float] = []
    recorder = Recorder([], names=ModelNames(), on_gap=gaps.append)
    turn = make_turn()
    for event in [*opening(), *answer(NOW, "a", "b", "c"), finished()]:
        recorder.on_event(turn, event)

    assert gaps == pytest.approx([0.1, 0.1], abs=1e-5)


def test_label_model_only_after_upstream_accepted_it() -> None:
    listener = RecordingListener()
    recorder = make_recorder(listener)
    for model, events in (("new", [refused()]), ("new", course()), ("new", [refused()]), ("invented", [refused()])):
        turn = make_turn(model=model)
        for event in events:
            recorder.on_event(turn, event)

    assert [draft.model_label for draft in listener.drafts] == [OTHER_MODEL, "new", "new", OTHER_MODEL]


def test_name_no_more_models_than_limit() -> None:
    names = ModelNames(limit=2)
    for model in ("a", "b", "c"):
        names.learn(model)

    assert [names.label(model) for model in ("a", "b", "c")] == ["a", "b", OTHER_MODEL]


def test_accept_events_as_gateway_publishes_them() -> None:
    observers, listener, turn = Observers(), RecordingListener(), make_turn()
    observers.register(make_recorder(listener))
    for event in course():
        observers.publish(turn, event)

    assert listener.heard[-1][0] == "ended"


def test_bound_disk_use_of_anonymous_rejections() -> None:
    now, listener = [0.0], RecordingListener()
    limit = RejectionSampler(listener, rows_per_s=2, burst=3, clock=lambda: now[0])
    for _ in range(10):
        limit.ended(draft_of(make_turn(key_id=None), [refused()]))
    assert (len(listener.heard), limit.skipped) == (3, 7)
    limit.ended(draft_of(make_turn(), [refused(kind=FailureKind.RATE_LIMITED)]))  # known callers are not limited
    limit.ended(draft_of(make_turn(), course()))
    assert len(listener.heard) == 5
    now[0] = 1.0
    for _ in range(10):
        limit.ended(draft_of(make_turn(key_id=None), [refused()]))

    assert (len(listener.heard), limit.skipped) == (7, 15)
