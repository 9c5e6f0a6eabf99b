"""A single forced call on models that reject forced tools: the answer's format is the call's arguments."""

from typing import Any

import pytest

from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from tests.dialects.openai.support import answer, chat, folded, function, payloads, responses

NEW, OLD = "claude-sonnet-5-5", "claude-sonnet-4-6"
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**CITY, "additionalProperties": False}
OPEN = {"type": "object", "additionalProperties": {"type": "integer"}}
TOOLS = [function("other"), function("weather", CITY, description="Asks for the weather.")]
NAMED = {"type": "function", "function": {"name": "weather"}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "P", "strict": True, "schema": {**OPEN, **CLOSED}}}
ANSWER = answer({"type": "text", "text": '{"city": "Rome"}'})


def test_send_the_schema_of_a_forced_function_as_format() -> None:
    translated = chat({"tools": TOOLS, "tool_choice": NAMED, "reasoning_effort": "low"}, model=NEW)
    sent = translated.body["output_config"]["format"]["schema"]
    assert sent == {
        **CLOSED,
        "description": "Arguments of a call of the function weather.\n\nAsks for the weather.",
    }
    assert "tools" not in translated.body
    assert "tool_choice" not in translated.body
    assert translated.body["thinking"]["type"] == "adaptive"
    assert translated.reply.forced_call == "weather"
    assert translated.ignored == ()


def test_require_the_only_tool_as_if_it_were_named() -> None:
    translated = chat({"tools": TOOLS[1:], "tool_choice": "required"}, model=NEW)
    assert translated.reply.forced_call == "weather"


def test_force_legacy_functions_and_free_form_tools_too() -> None:
    legacy = chat({"functions": [TOOLS[1]["function"]], "function_call": {"name": "weather"}}, model=NEW)
    assert legacy.reply.forced_call == "weather"
    tools = [{"type": "namespace", "name": "files", "description": "", "tools": [{"type": "custom", "name": "edit"}]}]
    custom = responses({"tools": tools, "tool_choice": {"type": "custom", "name": "edit"}}, model=NEW)
    assert custom.reply.forced_call == "files__edit"
    assert custom.body["output_config"]["format"]["schema"]["properties"] == {"input": {"type": "string"}}


def test_force_a_call_beside_any_format_of_the_text() -> None:
    named = {"type": "function", "name": "weather"}
    tool = {"type": "function", **TOOLS[1]["function"]}
    form = {"type": "json_schema", **FORMAT["json_schema"]}  # type: ignore[dict-item]  # a dict
    body = {"tools": [tool], "tool_choice": named, "text": {"format": form}}
    translated = responses(body, model=NEW)
    assert translated.reply.forced_call == "weather"
    assert translated.body["output_config"]["format"]["schema"]["properties"] == CITY["properties"]
    assert chat({"tools": TOOLS, "tool_choice": NAMED, "response_format": FORMAT}, model=NEW).ignored == ()


def test_leave_a_call_without_strict_schema_to_the_model() -> None:
    body = {"tools": [function("weather", OPEN)], "tool_choice": NAMED, "response_format": FORMAT}
    translated = chat(body, model=NEW)
    assert translated.reply.forced_call is None
    assert [tool["name"] for tool in translated.body["tools"]] == ["weather"]
    assert "output_config" not in translated.body
    assert translated.ignored == (
        "tool_choice (the only tool offered; this model decides whether to call it)",
        "response_format (the answer is to be a call)",
    )


@pytest.mark.parametrize("model", [OLD, "claude-3-5-haiku-latest"])
def test_force_the_tool_itself_where_the_model_takes_it(model: str) -> None:
    translated = chat({"tools": TOOLS, "tool_choice": NAMED}, model=model)
    assert translated.body["tool_choice"] == {"type": "tool", "name": "weather"}
    assert translated.reply.forced_call is None


def test_return_the_text_as_the_forced_call() -> None:
    reply = chat({"tools": TOOLS, "tool_choice": NAMED}, model=NEW).reply
    choice = completion(folded(ANSWER), reply, created=1)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    encoder = ChatStream(reply, created=1)
    chunks = payloads(encoder.encode(ANSWER) + encoder.finish())
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[:-1]]
    assert calls[0]["id"] == call["id"]
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city": "Rome"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_return_the_text_as_a_namespaced_call() -> None:
    tools = [
        {"type": "namespace", "name": "sky", "description": "", "tools": [{"type": "function", "name": "weather"}]}
    ]
    reply = responses({"tools": tools, "tool_choice": "required"}, model=NEW).reply
    (item,) = response_object(folded(ANSWER), reply, created=1)["output"]
    assert item["type"] == "function_call"
    assert (item["namespace"], item["name"], item["arguments"]) == ("sky", "weather", '{"city":"Rome"}')
    encoder = ResponsesStream(reply, created=1)
    (streamed,) = payloads(encoder.encode(ANSWER) + encoder.finish())[-1]["response"]["output"]
    assert streamed == {**item, "arguments": '{"city": "Rome"}'}


def test_hide_text_that_follows_the_forced_call() -> None:
    reply = chat({"tools": TOOLS, "tool_choice": NAMED}, model=NEW).reply
    events = answer({"type": "text", "text": "{}"}, {"type": "text", "text": "There you are."})
    message = completion(folded(events), reply, created=1)["choices"][0]["message"]
    assert message["content"] is None
    assert len(message["tool_calls"]) == 1
    stream = ChatStream(reply, created=1).encode(events)
    assert b"There" not in stream


def test_keep_the_ending_of_an_answer_that_was_cut() -> None:
    reply = chat({"tools": TOOLS, "tool_choice": NAMED}, model=NEW).reply
    cut = answer({"type": "text", "text": '{"city": "Ro'}, stop_reason="max_tokens")
    assert completion(folded(cut), reply, created=1)["choices"][0]["finish_reason"] == "length"
    silent = answer({"type": "thinking", "thinking": "hm", "signature": "s"}, stop_reason="max_tokens")
    assert "tool_calls" not in completion(folded(silent), reply, created=1)["choices"][0]["message"]
