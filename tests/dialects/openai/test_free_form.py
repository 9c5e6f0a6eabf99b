"""The input of a free-form call is decoded from the arguments as they come, however they are cut."""

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from apiproxy.core.message import tool_input
from apiproxy.dialects.openai.translate.free_form import FreeFormDecoder, description, free_form_input

TEXTS = st.text(max_size=20) | st.text('\\"\n/u😀é\ud83d\ude00', max_size=20)


def cut_at(text: str, places: list[int]) -> list[str]:
    """The text, cut at these places."""
    ends = [*sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def paired(text: str) -> str:
    """The text as JSON carries it, where the halves of a pair are one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def decoded(fragments: list[str]) -> list[str]:
    decoder = FreeFormDecoder()
    return [*map(decoder.decode, fragments), decoder.finish()]


@hypothesis.given(
    TEXTS,
    st.lists(st.integers(0, 10_000), max_size=12),
    st.booleans(),
    st.sampled_from([None, (",", ":"), (" , ", " : ")]),
)
def test_decode_any_text_however_it_is_cut(text: str, places: list[int], ascii_only: bool, spaces: Any) -> None:
    whole = json.dumps({"input": text}, ensure_ascii=ascii_only, separators=spaces)
    assert paired("".join(decoded(cut_at(whole, places)))) == paired(free_form_input(tool_input(whole)))


@hypothesis.given(TEXTS)
def test_decode_single_characters_as_they_come(text: str) -> None:
    whole = json.dumps({"input": text})
    assert paired("".join(decoded(list(whole)))) == paired(free_form_input(json.loads(whole)))


def test_send_each_part_as_soon_as_it_is_complete() -> None:
    assert decoded(['{"in', 'put": "a', "b\\", "nc", '"}']) == ["", "a", "b", "\nc", "", ""]


def test_hold_the_first_half_of_a_pair_back() -> None:
    assert decoded(['{"input":"x\\ud8', "3d", "\\ude", '00"}']) == ["x", "", "", "😀", ""]
    assert decoded(['{"input":"\ud83d', '\ude00"}']) == ["", "😀", ""]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"input": 5},
        {"input": {"a": 1}},
        {"patch": "x"},
        {"note": "n" * 100, "input": "text"},
        {"input": "a", "b": 1},
    ],
)
def test_decode_arguments_of_another_form(arguments: dict[str, Any]) -> None:
    whole = json.dumps(arguments)
    assert "".join(decoded(list(whole))) == free_form_input(arguments)
    assert "".join(decoded([whole] if arguments else [])) == free_form_input(arguments)


def test_keep_what_was_written_of_a_truncated_text() -> None:
    assert "".join(decoded(['{"input": "*** Begin', " Patch\\n*** Upd\\u00"])) == "*** Begin Patch\n*** Upd"


@pytest.mark.parametrize(
    "form",
    [
        {"type": "grammar", "syntax": "lark", "definition": "start: WORD"},
        {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}},
    ],
)
def test_describe_the_grammar_of_either_api(form: dict[str, Any]) -> None:
    text = description("Edits files.", form)
    assert text.startswith("Edits files.\n\n")
    assert text.endswith("grammar (lark):\nstart: WORD")


@pytest.mark.parametrize("form", [None, {"type": "text"}, {"grammar": 5}, {"definition": 5}])
def test_describe_a_tool_without_a_grammar(form: Any) -> None:
    assert description(None, form) == "The text goes into the parameter `input` as it is."
