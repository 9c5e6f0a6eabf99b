"""A turn ends at the first event that is not of the Messages API; later code does not check again."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.message import MessageFold
from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.translate.messages_body import Reply
from apiproxy.engines.stream.validation import StreamValidator
from tests.dialects.openai.support import responses
from tests.fuzz.inputs import spoiled
from tests.fuzz.upstream import GOOD

START = GOOD[0]
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP = {"type": "content_block_stop", "index": 0}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def fitting(events: Any) -> list[dict[str, Any]]:
    """The events up to the first that does not fit."""
    shape, found = StreamValidator(), []
    for event in events:
        if not shape.accepts(event):
            break
        found.append(event)
    return found


def test_accept_api_stream_and_new_parts_of_it() -> None:
    new = [
        {"type": "message_hint", "hint": 1},
        {"type": "content_block_start", "index": 3, "content_block": {"type": "hologram", "light": {}}},
        {"type": "content_block_delta", "index": 3, "delta": {"type": "light_delta", "light": 7}},
        {"type": "content_block_stop", "index": 3},
    ]
    stream = [*GOOD[:-2], *new, *GOOD[-2:]]

    assert fitting(stream) == stream


@pytest.mark.parametrize(
    "events",
    [
        [None], ["text"], [{}], [{"type": 5}], [TEXT], [END], [{"type": "message_stop"}], [START, START],
        [{"type": "message_start"}], [{"type": "message_start", "message": {"id": 1, "model": "m"}}],
        [START, {**TEXT, "index": 1}], [START, {**TEXT, "index": True}], [START, {**TEXT, "index": None}],
        [START, {**TEXT, "content_block": {"type": "tool_use", "id": "t"}}], [START, {**TEXT, "content_block": []}],
        [START, STOP], [START, TEXT, STOP, STOP], [START, TEXT, END], [START, TEXT, {**STOP, "index": [0]}],
        [START, delta(type="text_delta", text="x")], [START, TEXT, delta(type="text_delta")],
        [START, TEXT, delta(type="text_delta", text=5)], [START, TEXT, delta(type=["text_delta"])],
        [START, TEXT, delta(type="citations_delta")], [START, {**END, "usage": {"output_tokens": "many"}}],
        [START, {**END, "delta": {"stop_reason": {}}}], [START, {**END, "delta": {"content": 5}}],
        [START, {**END, "model": "another"}], [START, END, TEXT],
    ],
    ids=str,
)  # fmt: skip
def test_reject_stream_unreadable_downstream(events: list[Any]) -> None:
    assert len(fitting(events)) == len(events) - 1


@given(spoiled(GOOD), st.booleans())
def test_fold_and_encode_any_valid_stream(events: list[Any], reasoning: bool) -> None:
    found = fitting(events)
    if not found or found[-1]["type"] != "message_stop":
        return
    chat, stream, fold = ChatStream(Reply(reasoning=reasoning), created=0), None, MessageFold()
    reply = responses({"reasoning": {"summary": "auto"}} if reasoning else {}).reply
    stream = ResponsesStream(reply, created=0)
    for event in found:
        chat.encode([copy.deepcopy(event)])
        stream.encode([copy.deepcopy(event)])
        fold.add([event])

    assert chat.finish().endswith(b"[DONE]\n\n")
    assert completion(fold.message, Reply(reasoning=reasoning), created=0)["choices"]
    assert response_object(fold.message, reply, created=0)["status"]
