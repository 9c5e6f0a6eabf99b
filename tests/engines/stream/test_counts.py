"""Token counts of an upstream are from 0 to a thousand million wherever they are read, and the odd ones are noticed."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.engines.base import Completed
from apiproxy.engines.sdk.translation import Translation
from apiproxy.engines.stream.counts import MAX_COUNT, TOKEN_COUNTS, clamp_usage
from tests.fuzz.upstream import GOOD

GOOD_USAGE = {"input_tokens": 9, "output_tokens": 2, "cache_read_input_tokens": None, "server_tool_use": {"n": 0.5}}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda kids: st.lists(kids, max_size=3) | st.dictionaries(st.text(max_size=5), kids, max_size=3),
    max_leaves=8,
)


def test_keep_counts_that_can_be() -> None:
    usage, sane = clamp_usage(GOOD_USAGE)
    assert sane
    assert usage == GOOD_USAGE


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (-5, 0), (9 * 10**18, MAX_COUNT), (1e30, MAX_COUNT), (2.0, 2), (2.7, 2), (-0.5, 0), ("12", 0), (True, 0),
        ([1], 0), ({}, 0), (MAX_COUNT + 1, MAX_COUNT),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", TOKEN_COUNTS)
def test_clamp_counts_that_cannot_be(name: str, value: Any, count: int) -> None:
    usage, sane = clamp_usage({**GOOD_USAGE, name: value})
    assert not sane
    assert usage is not None
    assert usage[name] == count
    assert type(usage[name]) is int


@pytest.mark.parametrize("usage", [[], "many", 5, True])
def test_drop_usage_that_is_no_object(usage: Any) -> None:
    assert clamp_usage(usage) == (None, False)


def test_clamp_numbers_within_a_usage() -> None:
    usage, sane = clamp_usage(
        {"cache_creation": {"ephemeral_1h_input_tokens": -3}, "iterations": [{"input_tokens": 1e20}]}
    )
    assert not sane
    assert usage == {"cache_creation": {"ephemeral_1h_input_tokens": 0}, "iterations": [{"input_tokens": MAX_COUNT}]}


@given(ANY_JSON)
def test_bound_any_usage(usage: Any) -> None:
    found, _ = clamp_usage(usage)
    again, sane = clamp_usage(found)
    assert found is None or (sane and again == found)


def completed(usage: Any) -> tuple[Completed, list[dict[str, Any]]]:
    """The outcome of a turn whose upstream says this usage twice, and the events that the client gets."""
    stream = copy.deepcopy(GOOD)
    stream[0]["message"]["usage"] = stream[-2]["usage"] = usage
    translation = Translation(model="m")
    events = [event for it in stream for event in translation.feed({"type": "stream_event", "event": it})]
    events += translation.feed({"type": "result", "subtype": "success"})
    assert isinstance(translation.outcome, Completed)
    return translation.outcome, events


@pytest.mark.parametrize("usage", [{"input_tokens": -5, "output_tokens": 1}, {"input_tokens": "x"}, {"a": 1e99}, [], 3])
def test_flag_a_turn_with_absurd_usage(usage: Any) -> None:
    outcome, events = completed(usage)
    assert outcome.usage.estimated
    assert outcome.usage.input_tokens == 0
    assert [events[0]["message"]["usage"], events[-2]["usage"]] == [clamp_usage(usage)[0]] * 2


@pytest.mark.parametrize("usage", [None, {}, GOOD_USAGE])
def test_pass_usage_that_can_be_unchanged(usage: Any) -> None:
    outcome, events = completed(usage)
    assert not outcome.usage.estimated
    assert events[0]["message"]["usage"] == usage
