"""Blocks are numbered in their order for any indices of the upstream."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.message import MessageFold
from apiproxy.engines.stream.block_indices import BlockIndices
from apiproxy.engines.stream.validation import StreamValidator

START = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "role": "assistant", "content": []}}


def block(index: int, text: str, kind: str = "text") -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": {"type": kind, "text": ""}},
        {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": index},
    ]


def renumbered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    indices = BlockIndices()
    return [indices.renumber(event) for event in events]


@pytest.mark.parametrize("indices", [(0, 1, 1), (1, 2, 3), (0, 2, 5), (7, 7, 7), (2, 1, 0), (0, 1, 2)])
def test_keep_blocks_apart_by_their_order(indices: tuple[int, ...]) -> None:
    events = [START, *(event for at, index in enumerate(indices) for event in block(index, f"text {at}"))]
    validator, fold = StreamValidator(), MessageFold()
    found = renumbered(events)
    assert all(map(validator.accepts, found))
    fold.add(found)
    assert [part["text"] for part in fold.message["content"]] == ["text 0", "text 1", "text 2"]


def test_leave_contiguous_events_as_they_are() -> None:
    events = [START, *block(0, "a"), *block(1, "b"), {"type": "ping"}]
    assert all(new is old for new, old in zip(renumbered(events), events, strict=True))


@pytest.mark.parametrize(
    "broken",
    [
        [block(1, "a")[0], block(1, "b")[0]],
        [block(0, "a")[0], block(0, "b")[0]],
        [block(1, "a")[0], block(0, "b")[1]],
        [block(1, "a")[0], block(0, "b")[2]],
        [*block(0, "a"), block(0, "b")[1]],
    ],
)
def test_reject_events_that_could_mix_two_blocks(broken: list[dict[str, Any]]) -> None:
    validator = StreamValidator()
    assert not all(map(validator.accepts, renumbered([START, *broken])))


@given(st.lists(st.sampled_from([*block(0, "a"), *block(1, "b"), *block(-1, "c")]), max_size=12))
def test_never_mix_blocks_of_any_stream(events: list[dict[str, Any]]) -> None:
    validator, fold, texts = StreamValidator(), MessageFold(), list[str]()
    for new, old in zip(renumbered([START, *events]), [START, *events], strict=True):
        if not validator.accepts(new):
            return
        fold.add([new])
        if old["type"] == "content_block_delta":
            texts.append(old["delta"]["text"])
    # Each delta's text names its index: a block has the text of one index only.
    for part in fold.message["content"]:
        assert len(set(part["text"])) <= 1
