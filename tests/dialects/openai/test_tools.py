"""Tools, legacy functions and the choice among them."""

from typing import Any

import pytest

from apiproxy.dialects.openai.translate.tools import MAX_STRICT_TOOLS
from tests.dialects.openai.support import chat, function

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [function("f"), function("g")]
UNFORCED = "claude-opus-5-5"


def test_functions_are_tools_with_an_input_schema() -> None:
    tools = [
        function("f", CITY, description="finds"),
        {"type": "function", "function": {"name": "g"}},
        {"type": "function", "function": {"name": "h", "parameters": {"properties": {}}}},
    ]
    assert chat({"tools": tools}).body["tools"] == [
        {"name": "f", "description": "finds", "input_schema": CITY},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        {"name": "h", "input_schema": {"type": "object", "properties": {}}},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "g"}}, {"type": "tool", "name": "g"}),
    ],
)
def test_translate_tool_choice(choice: object, sent: object) -> None:
    assert chat({"tools": TOOLS, "tool_choice": choice}).body.get("tool_choice") == sent


def test_allowed_tools_are_the_only_ones_sent() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    body = chat({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}).body
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
def test_parallel_calls_can_be_switched_off(choice: object, sent: object) -> None:
    body = chat({"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False}).body
    assert body["tool_choice"] == sent


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert "tool_choice" not in chat({"tool_choice": "auto", "parallel_tool_calls": False}).body


def test_report_unforced_choice_where_forcing_is_unsupported() -> None:
    required = chat({"tools": TOOLS, "tool_choice": "required"}, model=UNFORCED)
    assert required.body["tool_choice"] == {"type": "auto"}
    assert required.ignored == ("tool_choice (this model decides whether to call a tool)",)
    named = chat({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}}, model=UNFORCED)
    assert [tool["name"] for tool in named.body["tools"]] == ["g"]
    assert named.body["tool_choice"] == {"type": "auto"}
    assert named.ignored == ("tool_choice (the only tool offered; this model decides whether to call it)",)


def test_close_strict_tools_where_model_supports_it() -> None:
    translated = chat({"tools": [function("f", CITY, strict=True)]})
    assert translated.body["tools"][0]["strict"] is True
    assert translated.body["tools"][0]["input_schema"] == {**CITY, "additionalProperties": False}
    assert translated.ignored == ()


@pytest.mark.parametrize(
    ("model", "schema", "said"),
    [
        ("claude-3-5-haiku-latest", CITY, "tools.0.function.strict"),
        (
            "claude-sonnet-4-5",
            {"type": "object", "additionalProperties": {"type": "string"}},
            "tools.0.function.strict (it has an object with free keys)",
        ),
    ],
)
def test_report_unforced_tool_where_unsupported(model: str, schema: dict[str, Any], said: str) -> None:
    translated = chat({"tools": [function("f", schema, strict=True)]}, model=model)
    assert translated.body["tools"] == [{"name": "f", "input_schema": schema}]
    assert translated.ignored == (said,)


def test_limit_strict_tools_to_number_of_api() -> None:
    tools = [function(f"f{number}", CITY, strict=True) for number in range(MAX_STRICT_TOOLS + 1)]
    translated = chat({"tools": tools})
    assert sum("strict" in tool for tool in translated.body["tools"]) == MAX_STRICT_TOOLS
    assert translated.ignored == (f"tools.{MAX_STRICT_TOOLS}.function.strict",)


def test_call_legacy_functions_one_at_a_time() -> None:
    translated = chat({"functions": [{"name": "f"}, {"name": "g"}], "function_call": {"name": "f"}})
    assert [tool["name"] for tool in translated.body["tools"]] == ["f", "g"]
    assert translated.body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    assert translated.reply.legacy_function
    assert chat({"functions": [{"name": "f"}], "function_call": "none"}).body["tool_choice"] == {"type": "none"}


def test_pass_cache_mark_of_tool() -> None:
    tool = {**function("f"), "cache_control": {"type": "ephemeral"}}
    assert chat({"tools": [tool]}).body["tools"][0]["cache_control"] == {"type": "ephemeral"}
