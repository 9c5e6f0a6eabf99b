"""Batches and the outcome of a response's bytes, however they arrive."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind
from apiproxy.core.message import MessageFold
from apiproxy.engines.base import Broken, Completed, Stopped
from apiproxy.engines.http.stream import EventStream
from tests.support.raw_upstream import END, START
from tests.support.streams import JsonObject, messages, stream_of

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda kids: st.lists(kids, max_size=3) | st.dictionaries(st.text(max_size=4), kids, max_size=3),
    max_leaves=6,
)
NAMES = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "new"]
ODD = st.fixed_dictionaries(
    {"type": st.sampled_from(NAMES) | ANY_JSON},
    optional=dict.fromkeys(("message", "index", "delta", "content_block", "usage"), ANY_JSON),
).filter(lambda event: event["type"] != "error")


def encoded(events: list[Any]) -> bytes:
    return b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in events)


def fed(stream: EventStream, data: bytes, size: int) -> tuple[bytes, list[Any]]:
    """Bytes and events of the batches, the data fed in pieces of that size."""
    batches = [stream.feed(data[start : start + size]) for start in range(0, len(data), size)]
    batches.append(stream.end())
    found = [batch for batch in batches if batch is not None]
    return b"".join(batch.raw for batch in found), [event for batch in found for event in batch.events]


@given(message=messages(), size=st.integers(1, 400))
def test_pass_stream_of_message(message: JsonObject, size: int) -> None:
    data = encoded(stream_of(message))
    stream, fold = EventStream(verbatim=True), MessageFold()

    raw, events = fed(stream, data, size)

    fold.add(events)
    assert raw == data
    assert fold.message == message
    assert isinstance(stream.outcome, Completed)
    assert stream.outcome.usage.output_tokens == message["usage"]["output_tokens"]


@given(message=messages(), verbatim=st.booleans())
def test_whole_answer_gives_usage_of_stream(message: JsonObject, *, verbatim: bool) -> None:
    body = json.dumps(message).encode()
    whole, streamed, fold = EventStream(verbatim=verbatim), EventStream(verbatim=verbatim), MessageFold()

    batch = whole.whole(body)
    fed(streamed, encoded(stream_of(message)), 1_000)

    assert batch is not None
    fold.add(batch.events)
    assert fold.message == message
    assert batch.raw == (body if verbatim else b"")
    assert whole.outcome == streamed.outcome


@given(events=st.lists(ODD, max_size=5), size=st.integers(1, 400), verbatim=st.booleans())
def test_survive_any_event(events: list[Any], size: int, *, verbatim: bool) -> None:
    data = START + encoded(events) + END
    stream = EventStream(verbatim=verbatim)

    raw, passed = fed(stream, data, size)

    assert stream.outcome is not None
    assert isinstance(stream.outcome, Completed) or not verbatim
    assert raw == (data if verbatim else b"")
    MessageFold().add(passed)


@given(body=ANY_JSON | st.fixed_dictionaries({"id": ANY_JSON, "content": ANY_JSON | st.lists(ODD), "usage": ANY_JSON}))
def test_survive_any_whole_answer(body: Any) -> None:
    for verbatim in (True, False):
        stream = EventStream(verbatim=verbatim)
        stream.whole(json.dumps(body).encode())
        assert isinstance(stream.outcome, Completed | Broken)


@pytest.mark.parametrize("verbatim", [True, False])
def test_report_stream_without_end_as_lost(*, verbatim: bool) -> None:
    stream = EventStream(verbatim=verbatim)

    fed(stream, START + END[:40], 1_000)

    assert isinstance(stream.outcome, Broken)
    assert stream.outcome.error.kind is FailureKind.CONNECTION_LOST


def test_end_checked_stream_at_first_invalid_event() -> None:
    stream = EventStream(verbatim=False)

    _, events = fed(stream, START + encoded([{"type": "message_stop"}]) + END, 1_000)

    assert [event["type"] for event in events] == ["message_start"]
    assert isinstance(stream.outcome, Broken)


def test_stop_before_end() -> None:
    stream = EventStream(verbatim=True)
    stream.feed(START)

    stream.stopped()

    assert isinstance(stream.outcome, Stopped)


def test_report_event_above_limit_as_lost() -> None:
    stream = EventStream(verbatim=True)

    for _ in range(20):
        if stream.outcome is None:
            stream.feed(b"x" * 2**20)

    assert isinstance(stream.outcome, Broken)
