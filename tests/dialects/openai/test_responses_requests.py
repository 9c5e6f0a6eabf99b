"""Responses requests in the upstream's shape."""

from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.openai.responses.content import encode_thinking
from apiproxy.dialects.openai.responses.reply import StoredHistory
from tests.dialects.openai.support import PDF, PNG, responses

THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": None}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


def refusal(body: dict[str, Any], **options: Any) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        responses(body, **options)
    assert caught.value.kind is FailureKind.INVALID_REQUEST
    return caught.value


def test_turn_text_with_instructions_into_system_prompt() -> None:
    translated = responses({"input": "hi", "instructions": "be brief", "max_output_tokens": 50})
    assert translated.body["system"] == [{"type": "text", "text": "be brief"}]
    assert translated.body["messages"] == [{"role": "user", "content": "hi"}]
    assert translated.body["max_tokens"] == 50
    assert translated.ignored == ()


def test_attach_calls_to_the_preceding_assistant_turn() -> None:
    items = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encode_thinking(THOUGHT)},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        CALL,
        OUTPUT,
    ]
    translated = responses({"input": items, "tools": [FUNCTION]})
    assert translated.body["system"] == [{"type": "text", "text": "be brief"}]
    assert translated.body["messages"] == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}]},
    ]


def test_images_and_files_are_blocks() -> None:
    parts = [
        {"type": "input_image", "image_url": PNG, "detail": "auto"},
        {"type": "input_image", "file_id": "file_9"},
        {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
    ]
    blocks = responses({"input": [{"role": "user", "content": parts}]}).body["messages"][0]["content"]
    assert [(block["type"], block["source"]["type"]) for block in blocks] == [
        ("image", "base64"),
        ("image", "file"),
        ("document", "base64"),
        ("document", "url"),
    ]


def test_translate_tools_choice_and_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    translated = responses(
        {
            "tools": [FUNCTION],
            "tool_choice": {"type": "function", "name": "f"},
            "parallel_tool_calls": False,
            "text": {"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}},
        }
    )
    assert translated.body["tools"] == [{"name": "f", "input_schema": FUNCTION["parameters"]}]
    assert translated.body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    assert translated.body["output_config"]["format"]["schema"] == {**schema, "additionalProperties": False}
    assert translated.reply.echo["text"]["format"]["schema"] == schema


def test_reasoning_is_asked_for_and_shown_as_a_summary() -> None:
    translated = responses({"reasoning": {"effort": "low", "summary": "auto"}}, model="claude-opus-5-5")
    assert translated.body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert translated.body["output_config"] == {"effort": "low"}
    assert translated.reply.reasoning


def test_continue_tool_loop_without_its_thinking() -> None:
    question = {"role": "user", "content": "hi"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encode_thinking(THOUGHT)}
    body = {"reasoning": {"effort": "low"}}
    assert "thinking" not in responses({**body, "input": [question, CALL, OUTPUT]}).body
    assert "thinking" in responses({**body, "input": [question, thought, CALL, OUTPUT]}).body
    assert "thinking" in responses({**body, "input": [question, CALL, OUTPUT, question]}).body


def test_thinking_of_another_model_is_left_out_and_that_is_said() -> None:
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    broken = {**foreign, "encrypted_content": "thinking-1.%%%"}
    translated = responses({"input": [{"role": "user", "content": "hi"}, foreign, broken]})
    assert translated.body["messages"] == [{"role": "user", "content": "hi"}]
    assert translated.ignored == ("input.encrypted_content (not this gateway's)",)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"store": True}, "store (responses are not stored for this API key)"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"temperature": 1.5}, "temperature (clipped to 1)"),
    ],
)
def test_name_ignored_parameter_and_reject_in_strict_mode(body: dict[str, Any], said: str) -> None:
    assert responses(body).ignored == (said,)
    assert refusal(body, strict=True).param == said.split(" (")[0]


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("input.0.arguments", {"input": [{**CALL, "arguments": "{"}, OUTPUT]}),
        ("input.0.call_id", {"input": [CALL]}),
        ("input.0.call_id", {"input": [OUTPUT, {"role": "user", "content": "hi"}]}),
        ("input.2.call_id", {"input": [CALL, OUTPUT, OUTPUT]}),
    ],
)
def test_refuse_broken_history_in_strict_mode_only(param: str, body: dict[str, Any]) -> None:
    assert responses(body).ignored[0].startswith(f"{param} (")
    assert refusal(body, strict=True).param == param


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("conversation", {"conversation": "conv_1"}),
        ("prompt", {"prompt": {"id": "pmpt_1"}}),
        ("background", {"background": True}),
        ("input", {"input": []}),
        ("input", {"input": None}),
        ("input", {"input": " "}),
        ("input.0.id", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("input.0.id", {"input": [{"id": "msg_1"}]}),
        ("input.0.type", {"input": [{"type": "computer_thought"}]}),
        ("input.0", {"input": ["hi"]}),
        ("input.0.role", {"input": [{"type": "message", "content": "x"}]}),
        ("input.0.content.0.text", {"input": [{"role": "user", "content": [{"type": "input_text"}]}]}),
        ("input.0.content", {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": PNG}]}]}),
        ("input.0.content.0.image_url", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
        ("input.0.content.0.file_data", {"input": [{"role": "user", "content": [{"type": "input_file"}]}]}),
        ("input", {"input": [OUTPUT]}),
        ("tools.0.name", {"tools": [{"type": "function"}]}),
        ("tools.0.parameters.type", {"tools": [{"type": "function", "name": "f", "parameters": {"type": "array"}}]}),
        ("tool_choice.server_label", {"tool_choice": {"type": "mcp", "server_label": "x"}}),
        ("text.format.schema", {"text": {"format": {"type": "json_schema", "name": "x"}}}),
        ("reasoning.effort", {"reasoning": {"effort": "extreme"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_name_wrong_field(param: str, body: dict[str, Any]) -> None:
    assert refusal(body).param == param


def test_repeat_request_fields_in_answer() -> None:
    echo = responses({"metadata": {"user_id": "u"}, "tools": [FUNCTION], "temperature": 0.5, "user": "u"}).reply.echo
    assert echo["metadata"] == {"user_id": "u"}
    assert echo["tools"] == [FUNCTION]
    assert echo["tool_choice"] == "auto"
    assert echo["temperature"] == 0.5
    assert echo["text"] == {"format": {"type": "text"}}
    assert echo["store"] is False


def test_continue_kept_conversation_with_tool_results() -> None:
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
    ]
    body = {"previous_response_id": "resp_1", "input": [{**OUTPUT, "call_id": "toolu_1"}], "instructions": "be brief"}
    translated = responses(body, stored=StoredHistory(response_id="resp_2", history=history))
    assert [message["role"] for message in translated.body["messages"]] == ["user", "assistant", "user"]
    assert translated.body["messages"][2]["content"][0]["tool_use_id"] == "toolu_1"
    assert translated.reply.echo["previous_response_id"] == "resp_1"
    assert translated.reply.echo["store"] is True
    assert translated.ignored == ()
    given_up = responses({**body, "input": "hi"}, stored=StoredHistory(response_id="resp_2", history=history))
    assert given_up.ignored == ("input (no result follows this call: an error is sent as its result)",)
    assert given_up.body["messages"][2]["content"][0]["is_error"] is True


def test_turn_answer_of_tool_into_text_of_history() -> None:
    carried: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "json_answer", "input": {"a": 1}}
    history: list[dict[str, Any]] = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": [carried]}]
    messages = responses({"input": "and b?"}, stored=StoredHistory(response_id="resp_2", history=history)).body[
        "messages"
    ]
    assert messages == [
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": '{"a":1}'},
        {"role": "user", "content": "and b?"},
    ]


def test_without_kept_responses_a_wish_to_store_is_named() -> None:
    assert responses({"store": True}, stored=StoredHistory(response_id="resp_2")).ignored == ()
    assert responses({"store": False}, stored=StoredHistory(response_id="resp_2")).reply.echo["store"] is False
