"""Sharing of the memory for request bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.server.body_memory import BodyMemory

MAX = 1_200


def fill(memory: BodyMemory, owner: str, size: int = 10) -> int:
    """Takes as much as there is for the owner; how much that was."""
    taken = 0
    while True:
        try:
            memory.reserve(owner, size)
        except ProxyError:
            return taken
        taken += size


def test_give_one_owner_half_of_the_memory() -> None:
    assert fill(BodyMemory(MAX), "a") == MAX / 2


def test_leave_a_share_to_the_next_owner() -> None:
    memory = BodyMemory(MAX)
    taken = [fill(memory, owner) for owner in "abcde"]
    assert all(taken)
    assert memory.held_bytes < MAX


def test_refuse_an_owner_over_its_share_with_429() -> None:
    memory = BodyMemory(MAX)
    fill(memory, "a")
    with pytest.raises(ProxyError) as caught:
        memory.reserve("a", 10)
    assert caught.value.kind is FailureKind.RATE_LIMITED
    assert caught.value.retry_after_s


def test_refuse_a_newcomer_as_overloaded() -> None:
    memory = BodyMemory(MAX)
    fill(memory, "a")
    with pytest.raises(ProxyError) as caught:
        memory.reserve("b", MAX // 2)
    assert caught.value.kind is FailureKind.QUEUE_FULL


def test_take_again_what_was_given_back() -> None:
    memory = BodyMemory(MAX)
    for _ in range(3):
        memory.release("a", fill(memory, "a"))
        assert memory.held_bytes == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, MAX), st.booleans()), max_size=60))
def test_never_hold_more_than_the_maximum(steps: list[tuple[str, int, bool]]) -> None:
    memory = BodyMemory(MAX)
    held: list[tuple[str, int]] = []
    for owner, size, gives_back in steps:
        if gives_back and held:
            memory.release(*held.pop())
            continue
        try:
            memory.reserve(owner, size)
        except ProxyError:
            continue
        held.append((owner, size))
        assert memory.held_bytes == sum(it for _, it in held) <= MAX
