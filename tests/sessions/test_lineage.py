"""Lineage: changes of the history by a turn."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.sessions.lineage import (
    MAX_HEADS,
    RESETS,
    RESUMES,
    Change,
    Comparison,
    Lineage,
    chain_of,
    common_length,
    compare,
    followed,
    packed,
    unpacked,
)

Messages = list[dict[str, Any]]
TEXTS = st.lists(st.text(max_size=20), min_size=1, max_size=12)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def history(turns: int) -> Messages:
    """Messages of a client in its turn `number`, from 1."""
    messages: Messages = []
    for turn in range(turns - 1):
        messages += [user(f"question {turn}"), assistant(f"answer {turn}")]
    return [*messages, user(f"question {turns - 1}")]


class Conversation:
    """Compare each turn of a sequence with the earlier ones."""

    def __init__(self) -> None:
        self.known: Lineage | None = None

    def turn(self, messages: Messages) -> Comparison:
        chain = chain_of(messages)
        seen = compare(self.known, chain)
        self.known = followed(self.known, chain)
        return seen


def test_recognise_edit_undo_and_fork_in_thirty_turns() -> None:
    conversation = Conversation()
    seen = [conversation.turn(history(turn)) for turn in range(1, 21)]
    assert seen == [Comparison(Change.FIRST)] + [Comparison(Change.RESUME)] * 19

    edited = history(20)
    edited[10] = user("what I meant to ask")
    assert conversation.turn(edited[:11]) == Comparison(Change.EDIT, 10)
    goes_on = [*edited[:11], assistant("an answer to that"), user("and then?")]
    assert conversation.turn(goes_on) == Comparison(Change.RESUME)

    undone = goes_on[:9]
    assert conversation.turn(undone) == Comparison(Change.UNDO, 9)
    assert conversation.turn([*undone, assistant("once more"), user("better")]) == Comparison(Change.RESUME)

    assert conversation.turn(history(21)) == Comparison(Change.FORK)
    for turn in range(22, 27):
        assert conversation.turn(history(turn)) == Comparison(Change.RESUME)
    assert conversation.turn(history(26)) == Comparison(Change.REPEAT)


def test_resume_two_alternating_branches() -> None:
    conversation = Conversation()
    trunk = [user("a"), assistant("b"), user("c")]
    one, other = [*trunk, assistant("1"), user("1")], [*trunk, assistant("2"), user("2")]
    assert conversation.turn(trunk).change is Change.FIRST
    assert conversation.turn(one).change is Change.RESUME
    assert conversation.turn(other) == Comparison(Change.EDIT, 3)
    for _ in range(5):
        one, other = [*one, assistant("x"), user("y")], [*other, assistant("x"), user("y")]
        assert conversation.turn(one).change is Change.FORK
        assert conversation.turn(other).change is Change.FORK


def test_detect_other_conversation_under_the_same_id() -> None:
    conversation = Conversation()
    conversation.turn(history(5))
    assert conversation.turn([user("something else")]) == Comparison(Change.EDIT, 0)


def test_bound_memory_of_conversations() -> None:
    conversation = Conversation()
    for number in range(3 * MAX_HEADS):
        conversation.turn([user(f"branch {number}")])
    assert conversation.known is not None
    assert len(conversation.known.heads) == MAX_HEADS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (user("hi"), {"role": "user", "content": [{"type": "text", "text": "hi"}]}),
        (
            user("hi"),
            {"content": [{"text": "hi", "cache_control": {"type": "ephemeral"}, "type": "text"}], "role": "user"},
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [{"type": "text", "text": "done", "cache_control": {"type": "ephemeral"}}],
                    }
                ],
            },
        ),
    ],
)
def test_treat_equal_meanings_as_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert chain_of([one]) == chain_of([other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (user("hi"), assistant("hi")),
        (user("hi"), user("hi ")),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"cache_control": 1}}],
            },
        ),
    ],
)
def test_distinguish_different_meanings(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert chain_of([one]) != chain_of([other])


@given(
    st.lists(
        st.recursive(
            st.text() | st.none() | st.integers() | st.floats(allow_nan=False),
            lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids),
            max_leaves=10,
        ),
        max_size=5,
    )
)
def test_chain_any_messages(messages: list[Any]) -> None:
    assert len(chain_of(messages)) == len(messages)
    assert chain_of(messages) == chain_of(copy.deepcopy(messages))
    assert unpacked(packed(chain_of(messages))) == chain_of(messages)


@given(TEXTS, TEXTS)
def test_more_of_the_same_is_a_resume_and_less_of_it_an_undo(texts: list[str], more: list[str]) -> None:
    short, long = [user(text) for text in texts], [user(text) for text in [*texts, *more]]
    known = followed(None, chain_of(short))
    assert compare(known, chain_of(long)) == Comparison(Change.RESUME)
    assert compare(followed(known, chain_of(long)), chain_of(short)) == Comparison(Change.UNDO, len(short))


@given(TEXTS, st.data())
def test_name_first_differing_message_of_reset(texts: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(texts) - 1))
    edited = [user(text) for text in texts]
    known = followed(None, chain_of(edited))
    edited[at] = user(texts[at] + "!")
    assert compare(known, chain_of(edited)) == Comparison(Change.EDIT, at)


@given(st.lists(TEXTS, min_size=1, max_size=10))
def test_name_message_only_in_resets(histories: list[list[str]]) -> None:
    conversation = Conversation()
    for texts in histories:
        seen = conversation.turn([user(text) for text in texts])
        assert (seen.change in RESETS) is (seen.differed_at is not None)
        assert seen.change in RESETS | RESUMES | {Change.FIRST}
        # Repeating a request is never a reset.
        assert compare(conversation.known, chain_of([user(text) for text in texts])).change in RESUMES


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_measure_common_beginning(one: list[int], other: list[int]) -> None:
    expected = 0
    while expected < min(len(one), len(other)) and one[expected] == other[expected]:
        expected += 1
    chains = [chain_of([user(str(number)) for number in numbers]) for numbers in (one, other)]
    assert common_length(*chains) == expected


@pytest.mark.parametrize(
    "make", [lambda n: {"x": {f"k{at}": n for at in range(20_000)}}, lambda n: ["a" * 2**20 + str(n)]]
)
def test_digest_large_messages_by_their_content(make: Any) -> None:
    def large(value: Any, **fields: Any) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "tool_use", "input": value, **fields}]}

    one = large(make(1))
    backwards = dict(reversed(one.items()))
    assert chain_of([one]) == chain_of([backwards]) == chain_of([large(make(1), cache_control={"type": "ephemeral"})])
    assert chain_of([one]) != chain_of([large(make(2))])
    assert chain_of([one]) != chain_of([large([make(1)])])


def test_digest_a_large_object_in_any_order() -> None:
    pairs = [(f"k{at}", at) for at in range(20_000)]
    one, other = dict(pairs), dict(reversed(pairs))
    assert chain_of([user("a") | {"x": one}]) == chain_of([user("a") | {"x": other}])
    assert chain_of([user("a") | {"x": one}]) != chain_of([user("a") | {"x": one | {"k0": 1, "k1": 0}}])
