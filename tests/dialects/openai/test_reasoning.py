"""`reasoning_effort` in the form that each model takes, and thinking that is shown when asked for."""

from typing import Any

import pytest

from apiproxy.dialects.openai.translate.reasoning import BUDGET_TOKENS, MIN_BUDGET_TOKENS
from tests.dialects.openai.support import MAX_OUTPUT_TOKENS, chat, function, tool_turn

BUDGET_MODEL = "claude-haiku-4-5"
ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def asked(model: str, **body: Any) -> tuple[Any, Any, tuple[str, ...]]:
    """`thinking`, the effort, and what is said to be ignored."""
    translated = chat(body, model=model)
    output = translated.body.get("output_config", {})
    return translated.body.get("thinking"), output.get("effort"), translated.ignored


@pytest.mark.parametrize("effort", BUDGET_TOKENS)
@pytest.mark.parametrize("max_tokens", [None, 2100, 5000, 20_000])
def test_leave_room_for_answer_in_budget_of_effort(effort: str, max_tokens: int | None) -> None:
    thinking, sent_effort, said = asked(BUDGET_MODEL, reasoning_effort=effort, max_tokens=max_tokens)
    room = max_tokens or MAX_OUTPUT_TOKENS
    assert thinking["type"] == "enabled"
    assert MIN_BUDGET_TOKENS <= thinking["budget_tokens"] <= min(BUDGET_TOKENS[effort], room - 1024)
    assert sent_effort is None
    assert said == ()


def test_without_room_there_is_no_thinking_and_that_is_said() -> None:
    assert asked(BUDGET_MODEL, reasoning_effort="low", max_tokens=2000) == (
        None,
        None,
        ("reasoning_effort (max_tokens leaves no room for it)",),
    )


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("claude-opus-5-5", "minimal", (ADAPTIVE, "low", ())),
        ("claude-opus-5-5", "high", (ADAPTIVE, "high", ())),
        ("claude-opus-5-5", "max", (ADAPTIVE, "max", ())),
        ("claude-opus-4-6", "xhigh", (ADAPTIVE, "high", ("reasoning_effort (xhigh sent as high)",))),
        ("claude-3-5-haiku-latest", "high", (None, None, ("reasoning_effort",))),
        ("claude-haiku-4-5", "none", (None, None, ())),
        ("claude-opus-4-8", "none", (None, None, ())),
        ("claude-haiku-5-5", "none", ({"type": "disabled"}, None, ())),
        ("claude-sonnet-5-5", "none", ({"type": "between_tools"}, None, ())),
        ("claude-opus-5-5", "none", (None, "low", ("reasoning_effort (this model always thinks: sent as low)",))),
    ],
)
def test_send_effort_in_the_models_form(model: str, effort: str, expected: object) -> None:
    assert asked(model, reasoning_effort=effort) == expected


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-4-8"])
def test_prefer_forced_tool_over_thinking_when_exclusive(model: str) -> None:
    forced: dict[str, Any] = {"tools": [function("f")], "tool_choice": "required"}
    assert asked(model, reasoning_effort="low", **forced) == (
        None,
        None,
        ("reasoning_effort (this model does not think when a tool is forced)",),
    )
    assert asked("claude-opus-5", reasoning_effort="low", **forced)[0] == ADAPTIVE


def test_continue_tool_loop_without_lost_thinking() -> None:
    question, calls, result = tool_turn(("call_1", "1"))
    thoughts = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    lost = asked(BUDGET_MODEL, reasoning_effort="low", messages=[question, calls, result])
    kept = asked(
        BUDGET_MODEL, reasoning_effort="low", messages=[question, {**calls, "thinking_blocks": thoughts}, result]
    )
    assert lost == (None, None, ("reasoning_effort (the tool calls lack their thinking)",))
    assert kept[0]["type"] == "enabled"
    new_turn = [question, calls, result, {"role": "assistant", "content": "x"}, question]
    assert asked(BUDGET_MODEL, reasoning_effort="low", messages=new_turn)[0]["type"] == "enabled"
    assert asked("claude-opus-5-5", reasoning_effort="low", messages=[question, calls, result])[0] == ADAPTIVE


@pytest.mark.parametrize(
    ("model", "body", "thinking"),
    [
        ("claude-opus-5-5", {}, {"type": "adaptive", "display": "summarized"}),
        ("claude-opus-5-5", {"reasoning_effort": "low"}, {"type": "adaptive", "display": "summarized"}),
        ("claude-opus-4-8", {}, None),
        ("claude-haiku-4-5", {}, None),
    ],
)
def test_thinking_that_is_to_be_shown_is_asked_for_as_text(model: str, body: dict[str, Any], thinking: object) -> None:
    translated = chat({**body, "include_reasoning": True}, model=model)
    assert translated.body.get("thinking") == thinking
    assert translated.reply.reasoning


def test_pass_native_field_and_prefer_it_to_effort() -> None:
    own = {"type": "enabled", "budget_tokens": 2000}
    assert asked(BUDGET_MODEL, thinking=own, reasoning_effort="high") == (own, None, ())
    assert asked("claude-opus-4-6", thinking={"type": "adaptive"}, reasoning_effort="medium") == (
        {"type": "adaptive"},
        "medium",
        (),
    )
