"""Directives in a prompt that control the stand-in."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.upstream.directives import DirectiveError, Directives, Flaky, parse


def test_find_no_directives_in_plain_text() -> None:
    assert parse("Hello, what is [1, [2, 3]] and [[wiki]] and [[a=b]]?") == Directives()


def test_several_directives_in_a_text_are_all_found() -> None:
    found = parse("Hi [[n=50]] there [[gap=0.01]][[first=0.2]] [[stop=max_tokens]] [[echo]] bye [[hang]]")

    assert found == Directives(given=True, n=50, gap_s=0.01, first_s=0.2, stop="max_tokens", echo=True, hang=True)


def test_accept_any_value_up_to_closing_brackets() -> None:
    assert parse("[[say=one = two [3]\nfour]]").say == "one = two [3]\nfour"


def test_parse_repeated_tools_with_braces_in_json() -> None:
    found = parse('[[tool=look:{"at": [[1], [2]]}]] and [[tool=ping]] and [[tool=say:{"text": "]]"}]]')

    assert found.tools == (("look", {"at": [[1], [2]]}), ("ping", {}), ("say", {"text": "]]"}))


def test_take_block_literally() -> None:
    assert parse('[[block={"type": "x", "a": [[]]}]] [[n=1]]').blocks == ({"type": "x", "a": [[]]},)


def test_usage_numbers_have_their_full_names() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
    }

    assert parse("[[in=1]] [[out=2]] [[read=3]] [[write=4]]").usage == usage


def test_parse_usage_keeps_any_json_value() -> None:
    nested = {"iterations": [{"a": [[-1]]}], "output_tokens": None}

    assert parse(f"[[usage={json.dumps(nested)}]]").exact_usage == (nested,)
    assert parse("[[usage=null]]").exact_usage == (None,)
    assert parse("[[in=1]]").exact_usage == ()


@pytest.mark.parametrize(
    ("text", "flaky"),
    [
        ("[[flaky=k:2:529]]", Flaky("k", 2, 529)),
        ("[[flaky=k:1:drop]]", Flaky("k", 1, "drop")),
        ("[[flaky=k:1:silent]]", Flaky("k", 1, "silent")),
        ("[[flaky=k:1:miderror]]", Flaky("k", 1, "miderror")),
    ],
)
def test_parse_key_number_and_fault_of_flaky_upstream(text: str, flaky: Flaky) -> None:
    assert parse(text).flaky == flaky


@pytest.mark.parametrize(
    "text", ["[[n=many]]", "[[gap=]]", "[[tool=look:{]]", "[[block=3]]x{", "[[flaky=k]]", "[[in=x]]", "[[usage={]]"]
)
def test_name_value_that_does_not_fit(text: str) -> None:
    with pytest.raises(DirectiveError, match="directive"):
        parse(text)


@given(st.text(alphabet='[]=:{}"ntoolblckea1 ', max_size=60))
def test_any_text_is_read_or_refused_with_a_directive_error(text: str) -> None:
    with suppress(DirectiveError):
        assert parse(text).given in {True, False}
