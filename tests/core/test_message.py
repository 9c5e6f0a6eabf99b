"""A non-streaming answer is the fold of the stream that the same message would have had."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from apiproxy.core.message import MessageFold, unfold
from apiproxy.engines.stream.validation import StreamValidator
from tests.support.streams import JsonObject, batches, messages, stream_of


def message_with(*content: JsonObject) -> JsonObject:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 7},
    }


@given(message=messages(), piece=st.integers(min_value=1, max_value=20), data=st.data())
def test_fold_messages_stream_to_message(message: JsonObject, piece: int, data: DataObject) -> None:
    fold = MessageFold()

    for batch in data.draw(batches(stream_of(message, piece=piece))):
        fold.add(batch)

    assert fold.message == message


@given(message=messages(), at=st.integers(min_value=0, max_value=50))
def test_pings_and_events_of_unknown_kinds_change_nothing(message: JsonObject, at: int) -> None:
    events = stream_of(message)
    events[at:at] = [{"type": "ping"}, {"type": "event_of_tomorrow", "index": 0, "delta": {"type": "text_delta"}}]
    fold = MessageFold()

    fold.add(events)

    assert fold.message == message


def test_leave_events_unchanged() -> None:
    events = stream_of(message_with({"type": "text", "text": "hello", "citations": [{"cited_text": "x"}]}))
    before = json.dumps(events)

    MessageFold().add(events)

    assert json.dumps(events) == before


def test_merge_message_delta_into_message() -> None:
    message = message_with({"type": "text", "text": "hello"})
    events = stream_of(message)
    events[-2] = {
        "type": "message_delta",
        "delta": {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"type": "refusal"}},
        "usage": {"output_tokens": 9},
        "context_management": {"applied_edits": []},
    }
    fold = MessageFold()

    fold.add(events)

    assert fold.message == {
        **message,
        "stop_reason": "refusal",
        "stop_details": {"type": "refusal"},
        "usage": {"input_tokens": 3, "output_tokens": 9},
        "context_management": {"applied_edits": []},
    }


def test_deltas_that_do_not_exist_yet_make_their_field_grow() -> None:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "compaction", "content": None}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", "content": part}}
        for part in ("what ", "was said")
    ]
    fold = MessageFold()

    fold.add([{"type": "message_start", "message": message_with()}, start, *deltas])
    fold.add([{"type": "content_block_stop", "index": 0}])

    assert fold.message["content"] == [{"type": "compaction", "content": "what was said"}]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('{"city": "Paris", "days": [1, 2', {"city": "Paris", "days": [1, 2]}),
        ('{"city": "Paris", "note": "and th', {"city": "Paris"}),
        ('{"ci', {}),
        ("", {}),
    ],
)
def test_match_official_client_on_truncated_tool_input(written: str, kept: JsonObject) -> None:
    tool = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    events = stream_of(message_with(tool))
    events[2]["delta"]["partial_json"] = written
    fold = MessageFold()

    fold.add(events)

    assert fold.message["content"] == [{**tool, "input": kept}]


@pytest.mark.parametrize(
    "value", [2**80 + 1, -(2**63) - 1, "\ud83d", 0.1], ids=["huge", "low", "lone surrogate", "float"]
)
def test_keep_tool_input_values_of_any_json_library(value: object) -> None:
    message = message_with({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"value": value}})
    fold = MessageFold()

    fold.add(stream_of(message))

    assert fold.message == message


def test_keep_invalid_json_input_as_api_returns_it() -> None:
    fold = MessageFold()
    fold.add(
        [
            {"type": "message_start", "message": {"id": "msg_1"}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": {}}},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": "no JSON"},
            },
            {"type": "content_block_stop", "index": 0},
        ]
    )

    assert fold.message["content"][0]["input"] == {"INVALID_JSON": "no JSON"}


@given(message=messages())
def test_fold_of_unfolded_message_is_the_message(message: JsonObject) -> None:
    before = json.dumps(message)
    fold, validator = MessageFold(), StreamValidator()
    events = list(unfold(message))

    fold.add(events)

    assert fold.message == message
    assert all(map(validator.accepts, events))
    assert json.dumps(message) == before


@pytest.mark.parametrize("missing", ["stop_reason", "stop_sequence", "usage"])
def test_unfold_message_without_optional_field(missing: str) -> None:
    message = message_with({"type": "text", "text": ""}, {"type": "tool_use", "input": None}, {"type": "new"})
    del message[missing]
    fold = MessageFold()

    fold.add(unfold(message))

    fold.message.setdefault("usage", {})
    assert fold.message == {"usage": {}, **message}


def test_unfold_tool_input_nested_too_deeply_for_json() -> None:
    deep: JsonObject = {}
    for _ in range(2_000):
        deep = {"a": deep}
    tool = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": deep}

    start = list(unfold(message_with(tool)))[1]

    assert start["content_block"]["input"] is deep
