"""Scripts of several steps, and what the upstream has seen."""

from typing import Any

import pytest

from tests.upstream.script import current_text, seen

USED: Any = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "t", "input": {}}]}
RESULT: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "[[say=no]]"}]}
SCRIPT = "[[say=one]] [[then]] [[say=two]] [[then]] [[say=three]]"


def user(text: str) -> Any:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ([], "[[say=one]] "),
        ([USED, RESULT], " [[say=two]] "),
        ([USED, RESULT] * 2, " [[say=three]]"),
        ([USED, RESULT] * 9, " [[say=three]]"),
        ([USED, RESULT, user("a reminder")], " [[say=two]] "),
        ([USED, user("[[say=other]]")], "[[say=other]]"),
    ],
)
def test_each_assistant_message_is_a_step(after: list[Any], text: str) -> None:
    body = {"messages": [user("[[say=old]] [[then]] [[say=older]]"), USED, user(SCRIPT), *after], "tools": [{}]}

    assert current_text(body) == text


def test_a_request_without_tools_gets_the_last_step() -> None:
    quoted = 'A title for: "[[tool=look:{\\"a\\": 1}]] [[then]] [[say={\\"a\\": 2}]]"'

    assert current_text({"messages": [user(quoted)]}) == ' [[say={"a": 2}]]"'


def test_a_result_speaks_where_no_script_does() -> None:
    assert current_text({"messages": [user("[[tool=t:{}]]"), USED, RESULT]}) == "[[say=no]]"


def test_seen_counts_what_is_nested_too() -> None:
    image, thought = {"type": "image", "source": {}}, {"type": "thinking", "thinking": "x", "signature": "y"}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [image, image]}
    body = {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "four", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "t"}, {"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "auto"},
        "messages": [user("x"), {"role": "assistant", "content": [thought]}, {"role": "user", "content": [result]}],
    }

    assert seen(body) == {
        "messages": 3,
        "images": 2,
        "documents": 0,
        "thinking": 1,
        "results": 1,
        "marks": 1,
        "tools": ["t", "web_search"],
        "system": 4,
        "model": "m",
        "max_tokens": 9,
        "effort": None,
        "format": None,
        "choice": "auto",
        "thread": None,
    }
