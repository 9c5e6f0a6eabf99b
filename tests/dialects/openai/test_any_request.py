"""Every request that the `openai` package's types allow is translated to Anthropic's types, or rejected by name."""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from apiproxy.core.errors import FailureKind, ProxyError
from tests.dialects.openai.support import MODELS, PDF, PNG, call, chat, function, responses, user
from tests.dialects.openai.typed import JSON, values_of

MANY = hypothesis.settings(max_examples=100, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
WORDS = st.text(min_size=1, max_size=8).filter(lambda text: not text.isspace())
SCHEMAS = st.sampled_from(
    [
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 3}}, "required": ["a"]},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"enum": [1, None]}}},
        {"type": "object", "properties": {"x": {"$ref": "#"}}},
        {},
    ]
)


def refused_by_name(error: ProxyError) -> None:
    assert error.kind is FailureKind.INVALID_REQUEST
    assert error.param
    assert error.message.startswith(error.param)


@MANY
@hypothesis.given(values_of(CompletionCreateParamsNonStreaming), st.sampled_from(MODELS), st.booleans())
def test_translate_or_reject_any_chat_request_by_field(body: dict[str, Any], model: str, strict: bool) -> None:
    try:
        translation = chat(body, model=model, strict=strict)
    except ProxyError as error:
        refused_by_name(error)
    else:
        assert not strict or not translation.ignored


@MANY
@hypothesis.given(values_of(ResponseCreateParamsNonStreaming), st.sampled_from(MODELS), st.booleans())
def test_translate_or_reject_any_responses_request_by_field(body: dict[str, Any], model: str, strict: bool) -> None:
    try:
        translation = responses(body, model=model, strict=strict)
    except ProxyError as error:
        refused_by_name(error)
    else:
        assert not strict or not translation.ignored


@MANY
@hypothesis.given(st.dictionaries(st.sampled_from(["messages", "tools", "tool_choice", "stop", "n", "x\r\ny"]), JSON))
def test_translate_or_reject_any_json_by_field(body: dict[str, Any]) -> None:
    try:
        translation = chat(body)
    except ProxyError as error:
        refused_by_name(error)
    else:
        assert all(name.isascii() and name.isprintable() for name in translation.ignored)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Conversations as clients have them: every call has its result."""
    parts = st.lists(
        st.fixed_dictionaries({"type": st.just("text"), "text": WORDS})
        | st.just({"type": "image_url", "image_url": {"url": PNG}})
        | st.just({"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "auto"}})
        | st.just({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}),
        min_size=1,
        max_size=3,
    )
    messages: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            messages.append({"role": draw(st.sampled_from(["system", "developer"])), "content": draw(WORDS)})
        messages.append(user(draw(WORDS | parts)))
        names = [f"call {number} {index}" for index in range(draw(st.integers(0, 3)))]
        content = draw(st.none() | st.just("") | WORDS)
        if names:
            calls = [call(name, "f", draw(st.sampled_from(["", "{}", '{"a": [1]}']))) for name in names]
            messages.append({"role": "assistant", "content": content, "tool_calls": calls})
            results = [{"role": "tool", "tool_call_id": name, "content": draw(st.text() | parts)} for name in names]
            messages += draw(st.permutations(results))
        messages.append({"role": "assistant", "content": content})
    return [*messages, user(draw(WORDS))]


@MANY
@hypothesis.given(
    st.fixed_dictionaries(
        {"messages": conversations()},
        optional={
            "temperature": st.floats(0, 2),
            "top_p": st.floats(0, 1),
            "max_tokens": st.integers(1, 9000),
            "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
            "include_reasoning": st.booleans(),
            "tools": st.lists(SCHEMAS, max_size=3).map(
                lambda found: [function(f"f{index}", schema, strict=True) for index, schema in enumerate(found)]
            ),
            "stop": st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=4),
            "user": st.text(max_size=20),
        },
    ),
    st.sampled_from(MODELS),
)
@pytest.mark.parametrize("answer", [{}, {"response_format": {"type": "json_object"}}])
def test_translate_real_client_requests(answer: dict[str, Any], body: dict[str, Any], model: str) -> None:
    translated = chat({**body, **answer}, model=model).body
    assert translated["messages"][-1]["role"] == "user"
    ids = [block["id"] for block in blocks_of(translated, "tool_use")]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == sorted(block["tool_use_id"] for block in blocks_of(translated, "tool_result"))
    budget = translated.get("thinking", {}).get("budget_tokens")
    assert budget is None or 1024 <= budget < translated["max_tokens"]


def unlike(tool: Any) -> tuple[Any, ...]:
    """Key that no two declared tools share."""
    return tool["type"], tool.get("name")


NAMES = st.sampled_from(["f", "edit", "apply_patch", "é.x", "n" * 64])
FUNCTIONS = st.fixed_dictionaries(
    {"type": st.just("function"), "name": st.sampled_from(["f", "edit", "shell", "n" * 64])},
    optional={"parameters": SCHEMAS, "strict": st.booleans(), "defer_loading": st.booleans()},
)
CUSTOMS = st.fixed_dictionaries(
    {"type": st.just("custom"), "name": NAMES},
    optional={"format": st.just({"type": "grammar", "syntax": "lark", "definition": "start: WORD"})},
)
NAMESPACES = st.fixed_dictionaries(
    {
        "type": st.just("namespace"),
        "name": st.sampled_from(["mcp__a", "a.b", "x" * 64]),
        "description": st.text(max_size=3),
        "tools": st.lists(FUNCTIONS | CUSTOMS, max_size=3, unique_by=unlike),
    }
)
BUILT_IN = st.sampled_from(
    [
        {"type": "local_shell"},
        {"type": "shell"},
        {"type": "apply_patch"},
        {"type": "tool_search", "execution": "client"},
        {"type": "file_search", "vector_store_ids": []},
    ]
)


TOOL_LISTS = st.lists(FUNCTIONS | CUSTOMS | NAMESPACES | BUILT_IN, max_size=6, unique_by=unlike)


@st.composite
def calls_with_results(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Calls of every kind and their results, in any order of the results."""
    calls, results = [], []
    for number in range(draw(st.integers(0, 5))):
        named = {"call_id": f"call {number}", "name": draw(NAMES)}
        if draw(st.booleans()):
            named["namespace"] = draw(st.sampled_from(["mcp__a", "a.b", "x" * 64]))
        found = {"tools": draw(st.lists(FUNCTIONS | NAMESPACES, max_size=2, unique_by=unlike))}
        run = {"type": "exec", "command": ["ls"], "env": {}}
        kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            "function_call": ({**named, "arguments": "{}"}, {"output": draw(st.text(max_size=3))}),
            "custom_tool_call": ({**named, "input": draw(st.text(max_size=3))}, {"output": "done"}),
            "local_shell_call": ({"id": f"id {number}", "action": run}, {"id": f"id {number}", "output": "{}"}),
            "shell_call": ({"action": {"commands": ["ls"]}}, {"output": [{"stdout": "", "stderr": ""}]}),
            "apply_patch_call": ({"operation": {"type": "delete_file", "path": "a"}}, {"status": "failed"}),
            "tool_search_call": ({"arguments": {"query": "x"}, "execution": "client"}, found),
        }
        kind = draw(st.sampled_from(sorted(kinds)))
        call, result = kinds[kind]
        output = "tool_search_output" if kind == "tool_search_call" else f"{kind}_output"
        calls.append({"call_id": f"call {number}", **call, "type": kind})
        results.append({"call_id": f"call {number}", **result, "type": output})
    return [*calls, *draw(st.permutations(results))]


@MANY
@hypothesis.given(TOOL_LISTS, calls_with_results(), st.sampled_from(MODELS))
def test_translate_tools_and_calls_of_every_kind(
    tools: list[dict[str, Any]], items: list[dict[str, Any]], model: str
) -> None:
    translation = responses({"tools": tools, "input": [user("hi"), *items, user("go on")]}, model=model)
    body, called = translation.body, translation.reply.called
    names = [tool["name"] for tool in body.get("tools", ())]
    assert len(set(names)) == len(names)
    assert called.keys() <= set(names)
    plain = {tool["name"] for tool in tools if tool["type"] == "function"}
    loaded = {it["name"] for item in items for it in item.get("tools", ()) if it["type"] == "function"}
    calls, results = blocks_of(body, "tool_use"), blocks_of(body, "tool_result")
    assert sorted(block["id"] for block in calls) == sorted(block["tool_use_id"] for block in results)
    # Without any declared tool, those of earlier calls are declared.
    assert set(names) - called.keys() in (plain | loaded, {block["name"] for block in calls})


def blocks_of(body: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    contents = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
    return [block for content in contents for block in content if block["type"] == kind]
