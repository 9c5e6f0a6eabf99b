"""JSON answers: the format where the model takes it, else a tool that carries the answer, else a request in words."""

from typing import Any

import pytest

from tests.dialects.openai.support import chat, function, refusal

CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "additionalProperties": {"type": "integer"}}
OLD, CURRENT, UNFORCED = "claude-3-5-haiku-latest", "claude-sonnet-4-5", "claude-opus-5-5"
ANY_OBJECT = {"type": "json_object"}


def schema(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": given, "strict": True, **more}}


def asked(answer: dict[str, Any], model: str = CURRENT, **body: Any) -> Any:
    return chat({"response_format": answer, **body}, model=model)


@pytest.mark.parametrize("model", [CURRENT, UNFORCED])
def test_turn_schema_into_output_format(model: str) -> None:
    translated = asked(schema(CLOSED), model)
    assert translated.body["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    assert "tools" not in translated.body
    assert translated.ignored == ()


def test_combine_format_with_effort_and_tools() -> None:
    body = asked(schema(CLOSED), "claude-opus-4-6", reasoning_effort="low", tools=[function("f")]).body
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"]["schema"] == CLOSED
    assert "tool_choice" not in body


@pytest.mark.parametrize(("model", "given"), [(OLD, CLOSED), (CURRENT, OPEN)])
def test_force_answer_tool_where_format_is_unsupported(model: str, given: dict[str, Any]) -> None:
    translated = asked(schema(given, description="A sum."), model)
    tool = translated.body["tools"][0]
    assert tool["input_schema"] == given
    assert tool["description"].endswith(" A sum.")
    assert translated.body["tool_choice"] == {
        "type": "tool",
        "name": tool["name"],
        "disable_parallel_tool_use": True,
    }
    assert translated.reply.answer_tool == tool["name"]
    assert "output_config" not in translated.body


def test_allow_answer_or_call_besides_client_tools() -> None:
    translated = asked(ANY_OBJECT, tools=[function("json_answer"), function("f")])
    assert [tool["name"] for tool in translated.body["tools"]] == ["json_answer", "f", "json_answer_"]
    assert translated.body["tool_choice"] == {"type": "any"}
    assert translated.reply.answer_tool == "json_answer_"
    only = asked(ANY_OBJECT, tools=[function("f")], tool_choice="none")
    assert only.body["tool_choice"]["name"] == "json_answer"


def test_ignore_format_when_client_tool_is_forced() -> None:
    translated = asked(ANY_OBJECT, tools=[function("f")], tool_choice="required")
    assert [tool["name"] for tool in translated.body["tools"]] == ["f"]
    assert translated.reply.answer_tool is None


def test_ask_in_words_where_forcing_is_unsupported() -> None:
    translated = asked(ANY_OBJECT, UNFORCED)
    assert "JSON object" in translated.body["system"][-1]["text"]
    assert translated.ignored == ("response_format (requested in the prompt, not enforced)",)
    loose = asked(schema(OPEN, strict=False), UNFORCED)
    assert '"additionalProperties":{"type":"integer"}' in loose.body["system"][-1]["text"]


def test_reject_strict_schema_unsupported_by_model() -> None:
    error = refusal({"response_format": schema(OPEN)}, model=UNFORCED)
    assert error.param == "response_format.json_schema.schema"
    assert "an object with free keys" in error.message


def test_thinking_by_budget_leaves_no_forced_tool() -> None:
    translated = asked(ANY_OBJECT, "claude-haiku-4-5", reasoning_effort="low")
    assert translated.body["thinking"]["type"] == "enabled"
    assert "tools" not in translated.body
    assert translated.ignored == ("response_format (requested in the prompt, not enforced)",)


def test_reject_answer_schema_that_is_no_object() -> None:
    assert refusal({"response_format": schema({"type": "array"})}, model=OLD).param == (
        "response_format.json_schema.schema.type"
    )
