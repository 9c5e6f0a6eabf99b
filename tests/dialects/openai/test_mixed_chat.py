"""Chat bodies in the shape of the Responses API, as Cursor sends them. Built after public reports, not recorded."""

import json
import secrets
from typing import Any

import httpx
import openai
import pytest

from apiproxy.core.errors import ProxyError
from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.mixed import (
    FlatChatRequest,
    as_responses_body,
    for_flat_tools,
    is_responses_body,
    read_flat_chat,
)
from apiproxy.dialects.openai.chat.parse import translate_chat
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.translate.messages_body import Target, Translation
from tests.dialects.openai.support import MODEL, PNG, answer, folded, function, payloads, user
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

PATCH = "*** Begin Patch\n*** End Patch"
APPLY_PATCH = {
    "type": "custom",
    "name": "ApplyPatch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk end_patch"},
}
FLAT = {"type": "function", "name": "Shell", "description": "d", "parameters": {"type": "object"}, "strict": False}
TARGET = Target(model=MODEL, max_output_tokens=64)


def translated(body: dict[str, Any]) -> Translation:
    whole = {"model": "gpt-5", **body}
    if is_responses_body(whole):
        request = read_responses(as_responses_body(whole))
        return for_flat_tools(translate_responses(request, target=TARGET, strict=False), request.stream_options)
    chat = read_flat_chat(whole)
    translation = translate_chat(chat, target=TARGET, strict=False)
    return for_flat_tools(translation, chat.stream_options) if isinstance(chat, FlatChatRequest) else translation


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input": "hi"}, True),
        ({"input": [user("hi")], "messages": []}, True),
        ({"messages": [user("hi"), {"type": "function_call", "call_id": "1"}]}, True),
        ({"messages": [user("hi")], "input": "x"}, False),
        ({"messages": [user("hi")]}, False),
        ({}, False),
        ([], False),
    ],
)
def test_tell_the_shape_of_a_body(body: Any, expected: bool) -> None:
    assert is_responses_body(body) is expected


@pytest.mark.parametrize("tools", [[FLAT, APPLY_PATCH], [function("Shell"), APPLY_PATCH], [APPLY_PATCH, FLAT]])
@pytest.mark.parametrize("conversation", [{"messages": [user("x")]}, {"input": [user("x")]}])
def test_take_nested_and_flat_tools_together(tools: Any, conversation: Any) -> None:
    translation = translated({**conversation, "tools": tools})
    assert {tool["name"] for tool in translation.body["tools"]} == {"Shell", "ApplyPatch"}
    (patch,) = [tool for tool in translation.body["tools"] if tool["name"] == "ApplyPatch"]
    assert "begin_patch" in patch["description"]
    assert translation.ignored == ()


@pytest.mark.parametrize("conversation", [{"messages": [user("x")]}, {"input": "x"}])
@pytest.mark.parametrize(
    "choice", [{"type": "function", "name": "Shell"}, {"type": "function", "function": {"name": "Shell"}}]
)
def test_take_a_choice_in_either_form(conversation: Any, choice: Any) -> None:
    body = translated({**conversation, "tools": [FLAT], "tool_choice": choice}).body
    assert body["tool_choice"] == {"type": "tool", "name": "Shell"}


def test_take_history_in_either_form() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "Shell", "arguments": "{}"}}
    entries = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PNG}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "a file"},
        {"type": "function_call", "call_id": "2", "name": "Shell", "arguments": '{"cmd":"ls"}'},
        {"type": "function_call_output", "call_id": "2", "output": "b"},
        {"role": "assistant", "content": "done", "tool_calls": []},
        user("more"),
    ]
    for conversation in ({"input": entries}, {"messages": entries}):
        messages = translated({**conversation, "tools": [FLAT]}).body["messages"]
        assert [block["type"] for block in messages[0]["content"]] == ["text", "image"]
        assert [message["role"] for message in messages] == ["user", "assistant"] * 3 + ["user"]
        assert messages[3]["content"][0]["input"] == {"cmd": "ls"}


@pytest.mark.parametrize("shape", ["messages", "input"])
def test_take_a_patch_back_in_either_form(shape: str) -> None:
    as_function = {"id": "1", "type": "function", "function": {"name": "ApplyPatch", "arguments": PATCH}}
    as_custom = {"id": "2", "type": "custom", "custom": {"name": "ApplyPatch", "input": PATCH}}
    calls = {"role": "assistant", "content": None, "tool_calls": [as_function, as_custom]}
    results = [{"role": "tool", "tool_call_id": number, "content": "ok"} for number in "12"]
    messages = translated({shape: [user("x"), calls, *results], "tools": [APPLY_PATCH]}).body["messages"]
    assert [block["input"] for block in messages[1]["content"]] == [{"input": PATCH}] * 2
    item = {"type": "function_call", "call_id": "3", "name": "ApplyPatch", "arguments": PATCH}
    output = {"type": "function_call_output", "call_id": "3", "output": "ok"}
    messages = translated({shape: [user("x"), item, output], "tools": [APPLY_PATCH]}).body["messages"]
    assert messages[1]["content"][0]["input"] == {"input": PATCH}


@pytest.mark.parametrize("shape", ["messages", "input"])
def test_answer_a_patch_in_both_forms(shape: str) -> None:
    reply = translated({shape: [user("x")], "tools": [APPLY_PATCH, FLAT]}).reply
    patch = {"type": "tool_use", "id": "1", "name": "ApplyPatch", "input": {"input": PATCH}}
    plain = {"type": "tool_use", "id": "2", "name": "Shell", "input": {"cmd": "ls"}}
    events = answer(patch, plain, stop_reason="tool_use", pieces=7)
    whole = completion(folded(events), reply, created=7)["choices"][0]["message"]["tool_calls"]
    assert whole[0]["custom"] == {"name": "ApplyPatch", "input": PATCH}
    assert whole[0]["function"] == {"name": "ApplyPatch", "arguments": PATCH}
    assert whole[1]["type"] == "function"
    assert "custom" not in whole[1]
    encoder = ChatStream(reply, created=7)
    deltas = [chunk["choices"][0]["delta"] for chunk in payloads(encoder.encode(events) + encoder.finish())]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(call["custom"]["input"] for call in calls if "custom" in call) == PATCH
    assert "".join(call["function"]["arguments"] for call in calls if "custom" in call) == PATCH
    assert json.loads("".join(call["function"]["arguments"] for call in calls if "custom" not in call)) == {"cmd": "ls"}


def test_carry_chat_fields_over() -> None:
    body = {
        "input": "x",
        "max_tokens": 7,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    translation = translated(body)
    assert translation.body["max_tokens"] == 7
    assert (translation.stream, translation.reply.include_usage) == (True, True)
    assert as_responses_body(body)["text"]["format"]["schema"] == {"type": "object"}
    assert as_responses_body(body)["reasoning"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [FLAT]}, "messages"),
        ({"input": 7}, "input"),
        ({"input": [7]}, "input.0"),
        ({"input": [{"role": "user", "content": [7]}]}, "input.0.content.0"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input.0.call_id"),
        ({"input": "x", "tools": [{"type": "function", "parameters": {}}]}, "tools.0.name"),
        ({"messages": [user("x")], "tools": [{"type": "custom", "name": 7}]}, "tools.0.custom.name"),
        ({"input": "x", "tools": 7}, "tools"),
    ],
)
def test_name_the_field_that_is_wrong(body: Any, param: str) -> None:
    with pytest.raises(ProxyError) as failed:
        translated(body)
    assert failed.value.param == param


@pytest.mark.parametrize("stream", [False, True])
def test_answer_the_agent_as_chat(gateway: GatewayProcess, stand_in: StandInProcess, stream: bool) -> None:
    mark = secrets.token_hex(8)
    body = {
        "model": MODEL,
        "stream": stream,
        "stream_options": {"include_usage": True},
        "input": [user(f'{mark} [[tool=ApplyPatch:{{"input":"{mark}"}}]]')],
        "tools": [FLAT, APPLY_PATCH],
        "reasoning": {"effort": "low"},
        "prompt_cache_key": "k",
    }
    headers = {"authorization": f"Bearer {gateway.api_key}"}
    made = httpx.post(f"{gateway.base_url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert made.status_code == 200, made.text
    assert "x-proxy-ignored" not in made.headers
    if stream:
        chunks = payloads(made.content)
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert chunks[-1]["usage"]["total_tokens"] > 0
        calls = [it for chunk in chunks for choice in chunk["choices"] for it in choice["delta"].get("tool_calls", ())]
        assert "".join(call["custom"]["input"] for call in calls) == mark
    else:
        (call,) = made.json()["choices"][0]["message"]["tool_calls"]
        assert call["custom"] == {"name": "ApplyPatch", "input": mark}
    assert {tool["name"] for tool in stand_in.only(mark).body["tools"]} == {"Shell", "ApplyPatch"}


def test_leave_plain_chat_as_it_is(client: openai.OpenAI) -> None:
    tool: Any = {"type": "custom", "custom": {"name": "note"}}
    asked: Any = [user('[[tool=note:{"input":"x"}]]')]
    made = client.chat.completions.create(model=MODEL, messages=asked, tools=[tool])
    assert made.choices[0].message.tool_calls is not None
    assert "function" not in made.choices[0].message.tool_calls[0].model_dump()
