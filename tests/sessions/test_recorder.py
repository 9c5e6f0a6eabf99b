"""Session recorder with a slow or failing database: lost turns are reported."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Finished, Streamed, Usage
from apiproxy.core.turns import Caller, Turn, new_id
from apiproxy.sessions import recorder as module
from apiproxy.sessions.recorder import SessionRecorder
from apiproxy.sessions.store import SessionStore

pytestmark = pytest.mark.django_db(transaction=True)

_ANSWER: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": [], "usage": {}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "ok"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
    {"type": "message_stop"},
]


@pytest.fixture
async def recorder(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SessionRecorder]:
    monkeypatch.setattr(module, "_keeps", lambda turn: True)
    made = SessionRecorder()
    yield made
    await made.stop()


def turn_of(*, stream: bool = False) -> Turn:
    return Turn(
        id=new_id("req_"),
        dialect="anthropic",
        body={"messages": [{"role": "user", "content": "hi"}]},
        model="m",
        requested_model="m",
        stream=stream,
        caller=Caller(key_id=1, key_label="k", store_bodies=True),
        received_at=1_800_000_000.0,
        body_bytes=10,
        conversation_id="c",
    )


def finish(recorder: SessionRecorder, turn: Turn) -> None:
    recorder.on_event(turn, Streamed(0.0, _ANSWER))
    recorder.on_event(turn, Finished(0.0, "end_turn", Usage()))


def replace_work(monkeypatch: pytest.MonkeyPatch, do: Callable[[SessionStore, Sequence[Any]], Any]) -> None:
    monkeypatch.setattr(SessionStore, "do", do)


async def test_answers_the_next_question_after_one_that_timed_out(
    recorder: SessionRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, done = threading.Event(), SessionStore.do

    def slow(store: SessionStore, jobs: Sequence[Any]) -> Any:
        released.wait(10)
        return done(store, jobs)

    replace_work(monkeypatch, slow)
    monkeypatch.setattr(module, "RECALL_TIMEOUT_S", 0.05)
    with pytest.raises(ProxyError) as refused:
        await recorder.kept(1, "c", request_id="req_1")
    assert refused.value.kind is FailureKind.DATABASE_UNAVAILABLE
    thread = recorder._worker._thread
    released.set()
    assert await recorder.flush()
    monkeypatch.setattr(module, "RECALL_TIMEOUT_S", 10)
    assert await recorder.kept(1, "c", request_id="req_2") is None
    assert recorder._worker._thread is thread  # the late result did not end the thread


async def test_tells_of_a_turn_that_the_database_refused(
    recorder: SessionRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = SessionStore.do

    def refuse(store: SessionStore, jobs: Sequence[Any]) -> Any:
        raise ValueError("refused")

    replace_work(monkeypatch, refuse)
    turn = replace(turn_of(), kept_messages=0)
    finish(recorder, turn)
    assert await recorder.headers(turn) == {"x-conversation-messages": "0", "x-conversation-unstored": "1"}
    replace_work(monkeypatch, done)
    following = await recorder.continued(turn_of(), "append")
    assert following.unstored_turns == 1
    finish(recorder, following)
    assert (await recorder.headers(following))["x-conversation-unstored"] == "1"
    assert (await recorder.continued(turn_of(), "append")).kept_messages == 2


async def test_frees_the_room_of_bodies_whatever_becomes_of_them(
    recorder: SessionRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 15)
    for _ in range(3):
        finish(recorder, turn_of(stream=True))
        assert await recorder.flush()
    following = await recorder.continued(turn_of(), "append")
    assert (following.kept_messages, following.unstored_turns) == (2, 0)
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 5)
    finish(recorder, following)
    assert (await recorder.headers(following))["x-conversation-unstored"] == "1"
