"""Translation of the CLI's messages to the upstream's events: none invented, early or lost."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.events import StreamEvent, Usage
from apiproxy.engines.base import Broken, Completed, Stopped
from apiproxy.engines.sdk.translation import Translation
from tests.support.streams import JsonObject, messages, stream_of

GOOD_RESULT: JsonObject = {"type": "result", "subtype": "success", "is_error": False}
# What the CLI says besides, at any time of a turn.
ASIDES: list[JsonObject] = [
    {"type": "system", "subtype": "init"},
    {"type": "command_lifecycle", "state": "started"},
    {"type": "assistant", "message": {"id": "msg_1", "content": []}},
    {"type": "type_of_tomorrow"},
]
SYNTHETIC_ERROR: JsonObject = {
    "type": "assistant",
    "is_api_error_message": True,
    "message": {"model": "<synthetic>", "stop_reason": "stop_sequence"},
}
SYNTHETIC_END: list[StreamEvent] = [
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": None, "stop_sequence": None}, "usage": {"output_tokens": 0}},
    {"type": "message_stop"},
]


def answer(stop_reason: str = "end_turn") -> JsonObject:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "Good day to you."}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7, "cache_read_input_tokens": 5},
    }


def as_line(event: StreamEvent) -> JsonObject:
    return {"type": "stream_event", "event": event, "uuid": "u", "session_id": "s"}


def error_result(**fields: Any) -> JsonObject:
    return {"type": "result", "is_error": True, "terminal_reason": "api_error", **fields}


def feed(translation: Translation, lines: Iterable[JsonObject]) -> list[StreamEvent]:
    return [event for line in lines for event in translation.feed(line)]


@given(
    message=messages(),
    asides=st.lists(st.tuples(st.integers(min_value=0, max_value=60), st.sampled_from(ASIDES)), max_size=6),
)
def test_pass_upstreams_own_events_of_complete_message(
    message: JsonObject, asides: list[tuple[int, JsonObject]]
) -> None:
    events = stream_of(message)
    lines = [*map(as_line, events), GOOD_RESULT]
    for at, aside in asides:
        lines.insert(min(at, len(lines) - 1), aside)
    translation = Translation(model="m")

    assert feed(translation, lines) == events
    assert isinstance(translation.outcome, Completed)
    assert translation.outcome.stop_reason == message["stop_reason"]
    assert translation.outcome.usage.output_tokens == message["usage"]["output_tokens"]


@given(message=messages())
def test_hold_message_end_until_result(message: JsonObject) -> None:
    translation = Translation(model="m")

    early = feed(translation, map(as_line, stream_of(message)))

    assert [event["type"] for event in early if event["type"] in ("message_delta", "message_stop")] == []
    assert translation.outcome is None
    assert [event["type"] for event in translation.feed(GOOD_RESULT)] == ["message_delta", "message_stop"]


def test_pass_all_other_events_at_once() -> None:
    translation = Translation(model="m")
    events = stream_of(answer())

    assert [translation.feed(as_line(event)) for event in events[:-2]] == [[event] for event in events[:-2]]


def test_end_turn_with_first_of_two_messages() -> None:
    translation = Translation(model="m")
    events = stream_of(answer("max_tokens"))

    passed = feed(translation, map(as_line, [*events, events[0]]))

    assert passed == events
    assert translation.outcome == Completed(
        stop_reason="max_tokens", usage=Usage(input_tokens=11, output_tokens=7, cache_read_input_tokens=5)
    )


@pytest.mark.parametrize("said_before_death", ["message_delta", "message_stop"])
def test_complete_message_when_process_dies_after_stop_reason(said_before_death: str) -> None:
    events = stream_of(answer("max_tokens"))
    last = [event["type"] for event in events].index(said_before_death)
    translation = Translation(model="m")

    passed = feed(translation, map(as_line, events[: last + 1])) + translation.ended()

    assert passed == events
    assert translation.outcome == Completed(
        stop_reason="max_tokens", usage=Usage(input_tokens=11, output_tokens=7, cache_read_input_tokens=5)
    )


@pytest.mark.parametrize("said", range(len(stream_of(answer())) - 2))
def test_fail_when_process_dies_before_stop_reason(said: int) -> None:
    translation = Translation(model="m")
    feed(translation, map(as_line, stream_of(answer())[:said]))

    assert translation.ended() == []
    assert isinstance(translation.outcome, Broken)
    assert translation.outcome.error.kind is FailureKind.WORKER_DIED


def test_hide_synthetic_end_of_broken_stream() -> None:
    start = stream_of(answer())[:4]
    translation = Translation(model="m")
    lines = [*map(as_line, start), SYNTHETIC_ERROR, *map(as_line, SYNTHETIC_END)]

    passed = feed(translation, [*lines, error_result(api_error_status=529, result="API Error: Overloaded")])

    assert passed == start
    assert isinstance(translation.outcome, Broken)
    assert translation.outcome.error.upstream == UpstreamError(status=529, type="overloaded_error")
    assert translation.outcome.usage.input_tokens == 11


def test_return_upstream_error_before_first_event() -> None:
    exact = ProxyError(FailureKind.UPSTREAM_ERROR, "no", upstream=UpstreamError(status=400, type="invalid"))
    translation = Translation(model="m")

    passed = translation.feed(SYNTHETIC_ERROR)
    passed += translation.feed(error_result(api_error_status=400, result="Prompt is too long"), exact_error=exact)

    assert passed == []
    assert translation.outcome == Broken(error=exact, usage=Usage())


def test_complete_refusal_though_cli_calls_it_an_error() -> None:
    events = stream_of(answer("refusal"))
    comment = {"type": "assistant", "is_api_error_message": True, "message": {"stop_reason": "refusal"}}
    translation = Translation(model="m")

    lines = [*map(as_line, events[:4]), comment, *map(as_line, events[4:]), error_result(result="refused")]

    assert feed(translation, lines) == events
    assert isinstance(translation.outcome, Completed)


def test_usage_is_the_last_that_the_upstream_said_of_each_count() -> None:
    events = stream_of(answer())
    events[0]["message"]["usage"] = {"input_tokens": 1, "cache_creation_input_tokens": 3, "service_tier": "standard"}
    events[-2]["usage"] = {"output_tokens": 9, "input_tokens": 2, "server_tool_use": {"web_search_requests": 1}}
    translation = Translation(model="m")

    feed(translation, [*map(as_line, events), GOOD_RESULT])

    counts = Usage(input_tokens=2, output_tokens=9, cache_creation_input_tokens=3)
    assert translation.usage() == replace(counts, service_tier="standard", server_tools=(("web_search_requests", 1),))


def test_keep_counts_of_stopped_turn() -> None:
    translation = Translation(model="m")
    feed(translation, map(as_line, stream_of(answer())[:3]))

    translation.stopped()

    assert translation.outcome == Stopped(usage=Usage(input_tokens=11, output_tokens=1, cache_read_input_tokens=5))
