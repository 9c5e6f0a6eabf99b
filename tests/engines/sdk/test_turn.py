"""One turn on one real worker: the upstream's events, an outcome, and a worker that is free again."""

import gc
import time
import weakref
from dataclasses import replace

import pytest

from apiproxy.core.errors import FailureKind, UpstreamError
from apiproxy.engines.base import Answer, Broken, Completed, Stopped
from apiproxy.engines.sdk.pool import Pool
from tests.support.engine import engine_request, finish, mark, play
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

FREE_WITHIN_S = 2.0
"""Twice how long a worker may take from `stop` until it is free and its upstream call closed: tests run beside it."""


async def first_text(answer: Answer) -> None:
    """Reads up to the first delta."""
    while (batch := await answer.next_batch()) is not None:
        if any(event["type"] == "content_block_delta" for event in batch.events):
            return
    raise AssertionError(f"no text: {answer.outcome}")


async def test_pass_upstream_events_and_count_them(pool: Pool) -> None:
    turn = await play(pool, engine_request("[[n=3]] [[in=12]] [[read=30]] [[write=7]] [[out=5]]"))

    assert [event["type"] for event in turn.events] == [
        *("message_start", "content_block_start"),
        *(["content_block_delta"] * 3),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    assert turn.text == "tok0 tok1 tok2 "
    assert isinstance(turn.outcome, Completed)
    usage = turn.outcome.usage
    counted = (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens)
    assert (turn.outcome.stop_reason, *counted) == ("end_turn", 12, 5, 30)
    assert usage.cache_creation_input_tokens == 7


async def test_return_long_answer_exactly(pool: Pool) -> None:
    turn = await play(pool, engine_request("[[n=5000]]"))

    assert turn.text == "".join(f"tok{number} " for number in range(5000))


async def test_return_delta_of_a_megabyte_as_one_event(pool: Pool) -> None:
    turn = await play(pool, engine_request("[[huge=1000000]]"))

    assert turn.text == "x" * 1_000_000


async def test_pass_thinking_and_parallel_tool_calls_unchanged(pool: Pool) -> None:
    turn = await play(pool, engine_request('[[think=hm]] [[tool=look:{"at": [1, "ü"]}]] [[tool=look:{}]]'))

    started = [event["content_block"]["type"] for event in turn.events if event["type"] == "content_block_start"]
    deltas = [event["delta"] for event in turn.events if event["type"] == "content_block_delta"]
    assert started == ["thinking", "tool_use", "tool_use"]
    assert {"type": "signature_delta", "signature": "c3RhbmQtaW4gc2lnbmF0dXJl"} in deltas
    assert "".join(delta.get("partial_json", "") for delta in deltas) == '{"at":[1,"ü"]}'
    assert isinstance(turn.outcome, Completed)
    assert turn.outcome.stop_reason == "tool_use"


async def test_idle_worker_keeps_nothing_of_its_last_turn(pool: Pool) -> None:
    """Else it keeps the body, through the callback, until it gets another turn."""

    def on_sent() -> None:
        pass

    kept = weakref.ref(on_sent)
    turn = await play(pool, replace(engine_request("[[n=1]]"), on_sent=on_sent))
    del on_sent
    gc.collect()

    assert turn.text == "tok0 "
    assert kept() is None


async def test_answer_turns_one_after_the_other(pool: Pool, stand_in: StandInProcess) -> None:
    sent = mark()

    turns = [await play(pool, engine_request(f"{sent} [[n=1]]")) for _ in range(10)]

    assert {turn.pid for turn in turns} == {turns[0].pid}
    assert len(stand_in.recorded(containing=sent)) == 10


@pytest.mark.parametrize(
    ("prompt", "status", "kind", "words"),
    [
        ("[[status=400]] [[message=prompt is too long: 2 > 1]]", 400, "invalid_request_error", "prompt is too long: 2"),
        ("[[status=401]] [[message=invalid x-api-key]]", 401, "authentication_error", "invalid x-api-key"),
        ("[[status=403]] [[message=not you]]", 403, "permission_error", "not you"),
        ("[[status=404]] [[message=model: x]]", 404, "not_found_error", "model: x"),
        ("[[status=413]] [[message=too large]]", 413, "request_too_large", "too large"),
        ("[[status=429]] [[message=slow down]]", 429, "rate_limit_error", "slow down"),
        ("[[status=500]] [[message=oops]]", 500, "api_error", "oops"),
        ("[[status=529]] [[message=Overloaded]]", 529, "overloaded_error", "Overloaded"),
        ("[[miderror=2]]", 529, "overloaded_error", "Overloaded"),
        ("[[miderror=2]] [[type=api_error]] [[message=boom]]", 500, "api_error", "boom"),
    ],
)
async def test_report_upstream_error_and_keep_worker(
    pool: Pool, prompt: str, status: int, kind: str, words: str
) -> None:
    failed = await play(pool, engine_request(prompt))
    after = await play(pool, engine_request("[[n=1]]"))

    assert isinstance(failed.outcome, Broken)
    assert failed.outcome.error.upstream == UpstreamError(status=status, type=kind)
    assert words in failed.outcome.error.message
    assert not {"message_delta", "message_stop"} & {event["type"] for event in failed.events}
    assert after.text == "tok0 "
    assert (after.pid == failed.pid) == (status != 404), "after a 404 the CLI would ask again, so it is ended"


@pytest.mark.parametrize("prompt", ["[[drop]]", "[[cut=2]]", "[[garbage=2]]"])
async def test_reject_broken_connection_as_answer(pool: Pool, prompt: str) -> None:
    failed = await play(pool, engine_request(prompt))

    assert isinstance(failed.outcome, Broken)
    assert failed.outcome.error.kind is FailureKind.CONNECTION_LOST
    assert not {"message_delta", "message_stop"} & {event["type"] for event in failed.events}


@pytest.mark.parametrize("prompt", ["[[n=9]] [[midhang=2]]", "[[n=1000]] [[gap=0.01]]"])
async def test_close_upstream_call_and_free_worker_on_stop(pool: Pool, stand_in: StandInProcess, prompt: str) -> None:
    sent = mark()
    answer = await pool.begin(engine_request(f"{sent} {prompt}"))
    await first_text(answer)

    stopped_at = time.monotonic()
    answer.stop()
    stopped = await finish(answer)
    took_s = time.monotonic() - stopped_at

    assert took_s < FREE_WITHIN_S
    assert isinstance(stopped.outcome, Stopped)
    assert stopped.events == []
    assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client
    after = await play(pool, engine_request("[[n=1]]"))
    assert (after.text, after.pid) == ("tok0 ", stopped.pid)


async def test_close_upstream_call_on_stop_before_first_byte(pool: Pool, stand_in: StandInProcess) -> None:
    sent = mark()
    answer = await pool.begin(engine_request(f"{sent} [[silent]]"))
    await eventually_async(lambda: stand_in.recorded(containing=sent))

    answer.stop()
    stopped = await finish(answer)

    assert isinstance(stopped.outcome, Stopped)
    assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client


async def test_close_upstream_call_on_stop_at_start(pool: Pool, stand_in: StandInProcess) -> None:
    sent = mark()
    answer = await pool.begin(engine_request(f"{sent} [[hang]]"))

    answer.stop()
    answer.stop()
    stopped = await finish(answer)

    assert isinstance(stopped.outcome, Stopped)
    await eventually_async(lambda: all(it.ended_at for it in stand_in.recorded(containing=sent)))
    after = await play(pool, engine_request("[[n=1]]"))
    assert after.text == "tok0 "


async def test_ignore_stop_after_end(pool: Pool) -> None:
    answer = await pool.begin(engine_request("[[n=1]]"))
    while await answer.next_batch() is not None:
        pass

    answer.stop()
    finished = await finish(answer)

    assert isinstance(finished.outcome, Completed)


_THINKING_ALONE = '[[block={"type": "thinking", "thinking": "hm", "signature": "c2ln"}]]'
_NOTHING = "[[say=]]"
_LITTLE = "[[n=2]]"
_FREE = "[[in=0]] [[out=0]]"


@pytest.mark.parametrize(
    ("answer", "stop"),
    [
        *((_LITTLE, stop) for stop in ("max_tokens", "model_context_window_exceeded", "reason_of_tomorrow")),
        *((_LITTLE, stop) for stop in ("end_turn", "refusal", "pause_turn", "stop_sequence")),
        *((_THINKING_ALONE, stop) for stop in ("max_tokens", "end_turn")),
        *((_NOTHING, stop) for stop in ("max_tokens", "end_turn")),
        ('[[tool=Bash:{"command": "id"}]]', "max_tokens"),
    ],
)
async def test_ask_once_and_keep_worker_for_any_answer(
    pool: Pool, stand_in: StandInProcess, answer: str, stop: str
) -> None:
    sent, after = mark(), mark()

    turn = await play(pool, engine_request(f"{sent} {answer} {_FREE} [[stop={stop}]]"))
    nxt = await play(pool, engine_request(f"{after} [[n=1]]"))

    assert isinstance(turn.outcome, Completed)
    assert turn.outcome.stop_reason == stop
    kinds = [event["type"] for event in turn.events]
    assert kinds.count("message_start") == 1
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert nxt.pid == turn.pid
    assert nxt.text == "tok0 "
    stand_in.ended(after)
    stand_in.only(sent)


async def test_hold_upstream_for_client_not_reading(pool: Pool) -> None:
    answer = await pool.begin(engine_request("[[n=30000]]"))
    await first_text(answer)
    message_buffer = answer._buffer
    await eventually_async(lambda: message_buffer._bytes > message_buffer._limit_bytes, within_s=20)
    full_bytes = message_buffer._bytes

    assert full_bytes < 2 * message_buffer._limit_bytes
    rest = await finish(answer)
    assert rest.text.endswith("tok29999 ")
    assert isinstance(rest.outcome, Completed)


async def test_pass_deeply_nested_body(pool: Pool, stand_in: StandInProcess) -> None:
    sent, deep = mark(), {"leaf": 1}
    for _ in range(300):
        deep = {"d": deep}  # type: ignore[dict-item]  # nested as deep as it is meant to be

    turn = await play(pool, engine_request(f"{sent} [[n=1]]", deep=deep))

    assert isinstance(turn.outcome, Completed)
    assert stand_in.only(sent).body["deep"] == deep
