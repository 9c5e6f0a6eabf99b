"""Chat completions by value: chunks, whole answers, token counts and reasons to stop."""

import json
from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.translate.answer import REFUSAL_TEXT, SYSTEM_FINGERPRINT
from apiproxy.dialects.openai.translate.messages_body import Reply
from tests.dialects.openai.support import MODEL, Events, answer, folded, payloads

TEXT = {"type": "text", "text": "Hello there"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Rome"}}
BARE_CALL = {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "Let me see", "signature": "sig"}
JSON_ANSWER = {"type": "tool_use", "id": "toolu_3", "name": "json_answer", "input": {"a": [1, None]}}


def streamed(events: Events, **reply: Any) -> list[Any]:
    encoder = ChatStream(Reply(**reply), created=7)
    return payloads(encoder.encode(events) + encoder.finish())


def deltas(events: Events, **reply: Any) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in streamed(events, **reply)]


def plain(events: Events, **reply: Any) -> dict[str, Any]:
    return completion(folded(events), Reply(**reply), created=7)


def test_stream_text_as_chunks_of_one_completion() -> None:
    chunks = streamed(answer(TEXT, pieces=2))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello "},
        {"content": "there"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    heads = [{name: value for name, value in chunk.items() if name != "choices"} for chunk in chunks]
    assert heads == [
        {
            "id": "chatcmpl-01Abc",
            "object": "chat.completion.chunk",
            "created": 7,
            "model": MODEL,
            "system_fingerprint": SYSTEM_FINGERPRINT,
        }
    ] * len(chunks)


def test_return_whole_answer_as_chat_completion() -> None:
    assert plain(answer(TEXT, service_tier="standard")) == {
        "id": "chatcmpl-01Abc",
        "object": "chat.completion",
        "created": 7,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "system_fingerprint": SYSTEM_FINGERPRINT,
        "service_tier": "default",
    }


def test_put_role_first_and_index_calls() -> None:
    found = deltas(answer(TEXT, CALL, BARE_CALL, stop_reason="tool_use", pieces=1))
    assert found[0]["role"] == "assistant"
    assert not any("role" in delta for delta in found[1:])
    assert [delta["tool_calls"][0] for delta in found if "tool_calls" in delta] == [
        {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city": "Rome"}'}},
        {"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]


def test_calls_alone_come_without_content_in_both_forms() -> None:
    events = answer(CALL, stop_reason="tool_use")
    assert deltas(events)[0]["content"] is None
    message = plain(events)["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "toolu_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}
    ]


@pytest.mark.parametrize(
    ("blocks", "stop_reason", "finish_reason"),
    [
        ([TEXT], "end_turn", "stop"),
        ([TEXT], "stop_sequence", "stop"),
        ([TEXT], "pause_turn", "length"),
        ([TEXT], "max_tokens", "length"),
        ([TEXT], "model_context_window_exceeded", "length"),
        ([TEXT], "refusal", "content_filter"),
        ([CALL], "tool_use", "tool_calls"),
        ([CALL], "max_tokens", "length"),
        ([JSON_ANSWER], "tool_use", "stop"),
        ([JSON_ANSWER, CALL], "tool_use", "tool_calls"),
    ],
)
def test_translate_stop_reason(blocks: list[Any], stop_reason: str, finish_reason: str) -> None:
    events = answer(*blocks, stop_reason=stop_reason)
    assert plain(events, answer_tool="json_answer")["choices"][0]["finish_reason"] == finish_reason
    assert streamed(events, answer_tool="json_answer")[-1]["choices"][0]["finish_reason"] == finish_reason


def test_return_answer_tool_arguments_without_surrounding_text() -> None:
    events = answer(TEXT, JSON_ANSWER, stop_reason="tool_use")
    message = plain(events, answer_tool="json_answer")["choices"][0]["message"]
    assert json.loads(message["content"]) == {"a": [1, None]}
    assert "tool_calls" not in message
    text = "".join(delta.get("content") or "" for delta in deltas(events, answer_tool="json_answer"))
    assert json.loads(text) == {"a": [1, None]}


def test_return_refusal_in_its_own_field() -> None:
    events = answer(TEXT, stop_reason="refusal")
    assert plain(events)["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hello there",
        "refusal": "No, sorry.",
    }
    assert {"refusal": "No, sorry."} in deltas(events)
    events[-2]["delta"]["stop_details"] = None
    assert plain(events)["choices"][0]["message"]["refusal"] == REFUSAL_TEXT
    assert deltas(answer(stop_reason="refusal"))[0] == {"role": "assistant", "content": None, "refusal": "No, sorry."}


def test_legacy_functions_answer_in_their_own_form() -> None:
    events = answer(CALL, stop_reason="tool_use", pieces=1)
    choice = plain(events, legacy_function=True)["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    assert [delta.get("function_call") for delta in deltas(events, legacy_function=True)] == [
        {"name": "get_weather", "arguments": ""},
        {"arguments": '{"city": "Rome"}'},
        None,
    ]


def test_thinking_is_shown_only_when_asked_for() -> None:
    events = answer(THOUGHT, {"type": "redacted_thinking", "data": "x"}, TEXT, pieces=2)
    assert not any("reasoning_content" in delta for delta in deltas(events))
    assert "reasoning_content" not in plain(events)["choices"][0]["message"]
    found = deltas(events, reasoning=True)
    assert found[0] == {"role": "assistant", "content": None, "reasoning_content": ""}
    assert "".join(delta.get("reasoning_content", "") for delta in found) == "Let me see"
    blocks = [block for delta in found for block in delta.get("thinking_blocks", ())]
    message = plain(events, reasoning=True)["choices"][0]["message"]
    assert message["reasoning_content"] == "Let me see"
    assert blocks == message["thinking_blocks"]
    assert blocks == [{"index": 0, **THOUGHT}, {"index": 1, "type": "redacted_thinking", "data": "x"}]


def test_send_token_counts_last_and_only_if_requested() -> None:
    events = answer(TEXT, cache_read_input_tokens=7, cache_creation_input_tokens=3, output_tokens=9)
    assert all("usage" not in chunk for chunk in streamed(events))
    chunks = streamed(events, include_usage=True)
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert plain(events)["usage"] == chunks[-1]["usage"]


def test_report_reasoning_share_only_where_known() -> None:
    known = answer(THOUGHT, TEXT, output_tokens_details={"thinking_tokens": 4})
    assert plain(known)["usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}
    assert "completion_tokens_details" not in plain(answer(THOUGHT, TEXT))["usage"]
    assert "completion_tokens_details" not in streamed(answer(THOUGHT, TEXT), include_usage=True)[-1]["usage"]


def test_send_error_object_without_end_mark() -> None:
    encoder = ChatStream(Reply(include_usage=True), created=7)
    encoder.encode(answer(TEXT)[:3])
    data = encoder.failure(ProxyError(FailureKind.STALL, "The upstream went silent."))
    assert payloads(data) == [
        {
            "error": {
                "message": "The upstream went silent.",
                "type": "timeout_error",
                "param": None,
                "code": "timeout",
            }
        }
    ]
    assert b"[DONE]" not in data


def test_send_ping_as_comment() -> None:
    assert ChatStream(Reply(), created=7).ping() == b": ping\n\n"


def test_encode_irrelevant_events_as_nothing() -> None:
    encoder = ChatStream(Reply(), created=7)
    first, *_ = answer(TEXT)
    assert encoder.encode([{"type": "ping"}]) == b""
    assert encoder.encode([first]) == b""


def test_text_that_is_no_unicode_still_goes_out() -> None:
    assert deltas(answer({"type": "text", "text": "a\ud800b"}, pieces=1))[1] == {"content": "a\ud800b"}
