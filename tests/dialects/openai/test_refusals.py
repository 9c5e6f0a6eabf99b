"""A request that cannot be translated gets a 400 that names the field."""

from typing import Any

import pytest

from apiproxy.core.errors import ProxyError
from apiproxy.dialects.openai.chat.parse import read_chat
from apiproxy.dialects.openai.responses.parse import read_responses
from tests.dialects.openai.support import call, chat, function, refusal, tool_turn, user

ASSISTANT: dict[str, Any] = {"role": "assistant", "content": None}


def messages(*given: object) -> dict[str, Any]:
    return {"messages": [user("hi"), *given]}


def image(url: str) -> dict[str, Any]:
    return messages(user([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}]))


def file(**given: str) -> dict[str, Any]:
    return messages(user([{"type": "file", "file": given}]))


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("messages", {"messages": []}),
        ("messages", {"messages": [{"role": "system", "content": " "}]}),
        ("messages.1.role", messages({"role": "robot", "content": "x"})),
        ("messages.1.role", messages({"content": "x"})),
        ("messages.1.content", messages({"role": "user"})),
        ("messages.1.content", messages(user(5))),
        ("messages.0.content", {"messages": [user("")]}),
        ("messages.0.content", {"messages": [user([{"type": "text", "text": "\n"}])]}),
        ("messages.1.content.0.text", messages(user([{"type": "text"}]))),
        ("messages.1.content.0.type", messages(user([{"type": "video_url"}]))),
        ("messages.1.content.0.input_audio", messages(user([{"type": "input_audio", "input_audio": {"data": "x"}}]))),
        ("messages.1.content.1.image_url.url", image("cat.png")),
        ("messages.1.content.1.image_url.url", image("data:image/png,xyz")),
        ("messages.1.content.1.image_url.url", image("data:image/svg+xml;base64,eA==")),
        ("messages.1.content.0.file.file_data", file(filename="a.pdf")),
        ("messages.1.content.0.file.file_data", file(file_data="data:application/zip;base64,eA==")),
        ("messages.1.content.0.file.file_data", file(file_data="data:text/plain;base64,gA==")),
        ("messages.1.content.0.file.file_data", file(file_data="data:text/plain;base64,IA==")),
        ("messages.1.content.0.file.file_data", file(file_data="eA==", filename="a.docx")),
        ("messages.1.content.0.file.file_id", file(file_id="file-abc")),
        ("messages.1.tool_calls.0.function", messages({**ASSISTANT, "tool_calls": [{"id": "c", "type": "function"}]})),
        ("temperature", {"temperature": 2.5}),
        ("temperature", {"temperature": "hot"}),
        ("top_p", {"top_p": -1}),
        ("max_tokens", {"max_tokens": 0}),
        ("n", {"n": 0}),
        ("stop", {"stop": {"a": 1}}),
        ("stream", {"stream": "yes"}),
        ("tools.0.type", {"tools": [{"name": "x"}]}),
        ("tools.0.custom.name", {"tools": [{"type": "custom", "custom": {}}]}),
        ("tool_choice", {"tools": [{"type": "web_search_4"}], "tool_choice": "required"}),
        ("tools.0.function.name", {"tools": [{"type": "function", "function": {}}]}),
        ("tools.0.function.name", {"tools": [function("my tool")]}),
        ("tools.0.function.parameters.type", {"tools": [function("f", {"type": "array"})]}),
        ("functions.0.name", {"functions": [{"name": "my tool"}]}),
        ("functions", {"functions": [{"name": "f"}], "tools": [function("f")]}),
        ("tool_choice", {"tool_choice": "sometimes"}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tools": [function("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
        ("tool_choice", {"tools": [function("f")], "tool_choice": {"type": "custom", "custom": {"name": "f"}}}),
        ("function_call", {"functions": [{"name": "f"}], "function_call": {"name": "g"}}),
        ("response_format.type", {"response_format": {"type": "xml"}}),
        ("response_format.json_schema.name", {"response_format": {"type": "json_schema", "json_schema": {}}}),
        ("reasoning_effort", {"reasoning_effort": "extreme"}),
        ("service_tier", {"service_tier": "gold"}),
        ("user", {"user": 7}),
        ("modalities", {"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}),
        ("audio", {"audio": {"voice": "alloy"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_name_wrong_field(param: str, body: dict[str, Any]) -> None:
    assert refusal(body).param == param


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("messages.1.tool_calls.0.function.arguments", messages({**ASSISTANT, "tool_calls": [call("c", "f", "{")]})),
        ("messages.1.tool_calls.0.id", messages({**ASSISTANT, "tool_calls": [call("c", "f")]})),
        (
            "messages.1.function_call.arguments",
            messages({**ASSISTANT, "function_call": {"name": "f", "arguments": "x"}}),
        ),
        ("messages.1.tool_call_id", messages({"role": "tool", "tool_call_id": "c", "content": "x"})),
        (
            "messages.3.tool_call_id",
            {"messages": [*tool_turn(("c", "x")), {"role": "tool", "tool_call_id": "c", "content": "x"}]},
        ),
        ("messages.1.name", messages({"role": "function", "name": "f", "content": "x"})),
        ("messages", {"messages": [{"role": "assistant", "content": "hello"}, user("hi")]}),
        ("messages", messages({"role": "assistant", "content": "hello"}, user(""))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuse_broken_history_in_strict_mode_only(param: str, body: dict[str, Any]) -> None:
    assert chat(body).ignored[0].startswith(f"{param} (")
    assert refusal(body, strict=True).param == param


@pytest.mark.parametrize("body", [None, [], "text", 3])
def test_reject_body_that_is_no_object(body: object) -> None:
    with pytest.raises(ProxyError) as caught:
        read_chat(body)
    assert caught.value.param == "body"


def test_require_model_that_is_not_empty() -> None:
    bodies: list[dict[str, Any]] = [{"messages": []}, {"messages": [], "model": ""}]
    for body in bodies:
        with pytest.raises(ProxyError) as caught:
            read_chat(body)
        assert caught.value.param == "model"


def test_report_error_of_the_intended_content_form() -> None:
    assert refusal(messages(user([{"type": "text", "text": 5}]))).message == (
        "messages.1.content.0.text: Input should be a valid string"
    )
    assert refusal(messages(user(5))).message == (
        "messages.1.content: Input should be a valid string; or Input should be a valid list"
    )


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 10_000_001, 0, -1, True, 1.5, "10"])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_refuse_max_tokens_that_no_model_has(name: str, value: object) -> None:
    with pytest.raises(ProxyError) as caught:
        read_chat({"model": "sonnet", **messages(user("hi")), name: value})
    assert caught.value.param == name


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 10_000_001, 0, -1, True, 1.5, "10"])
def test_refuse_max_output_tokens_that_no_model_has(value: object) -> None:
    with pytest.raises(ProxyError) as caught:
        read_responses({"model": "sonnet", "input": "hi", "max_output_tokens": value})
    assert caught.value.param == "max_output_tokens"
