"""Responses objects and their streams by value."""

from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_values import ValueBudget
from apiproxy.dialects.openai.responses.content import decode_thinking
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from tests.dialects.openai.support import MODEL, Events, answer, folded, payloads, responses

TEXT = {"type": "text", "text": "Hello there"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "Let me see", "signature": "sig"}


def streamed(events: Events, **body: Any) -> list[Any]:
    encoder = ResponsesStream(responses(body).reply, created=7)
    return payloads(encoder.encode(events) + encoder.finish())


def plain(events: Events, **body: Any) -> dict[str, Any]:
    return response_object(folded(events), responses(body).reply, created=7)


def test_emit_text_events_in_documented_order() -> None:
    events = streamed(answer(TEXT, pieces=2))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert events[4] == {
        "type": "response.output_text.delta",
        "item_id": "msg_01Abc_0",
        "output_index": 0,
        "content_index": 0,
        "logprobs": [],
        "delta": "Hello ",
        "sequence_number": 4,
    }


def test_name_every_event() -> None:
    encoder = ResponsesStream(responses({}).reply, created=7)
    stream = encoder.encode(answer(TEXT)) + encoder.finish()
    names = [line.removeprefix(b"event: ").decode() for line in stream.split(b"\n") if line.startswith(b"event: ")]
    assert names == [payload["type"] for payload in payloads(stream)]


def test_return_whole_answer_as_response_object() -> None:
    response = plain(answer(TEXT, service_tier="standard"), instructions="be brief")
    assert (response["id"], response["object"], response["status"]) == ("resp_01Abc", "response", "completed")
    assert (response["model"], response["created_at"], response["service_tier"]) == (MODEL, 7, "default")
    assert response["instructions"] == "be brief"
    assert response["output"] == [
        {
            "id": "msg_01Abc_0",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}],
        }
    ]
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }


def test_give_call_without_arguments_an_empty_object() -> None:
    events = streamed(answer(CALL, stop_reason="tool_use"))
    assert [event["arguments"] for event in events if event["type"].endswith("arguments.done")] == ["{}"]
    assert plain(answer(CALL, stop_reason="tool_use"))["output"] == [
        {
            "id": "fc_01Abc_0",
            "type": "function_call",
            "status": "completed",
            "call_id": "toolu_1",
            "name": "f",
            "arguments": "{}",
        }
    ]


def test_summarise_or_seal_thinking_as_requested() -> None:
    events = answer(THOUGHT, TEXT)
    assert [item["type"] for item in plain(events)["output"]] == ["message"]
    shown = plain(events, reasoning={"summary": "auto"})["output"][0]
    assert shown["summary"] == [{"type": "summary_text", "text": "Let me see"}]
    assert "encrypted_content" not in shown
    carried = plain(events, include=["reasoning.encrypted_content"])["output"][0]
    assert carried["summary"] == []
    assert decode_thinking(carried["encrypted_content"], ValueBudget()) == THOUGHT
    kinds = {event["type"] for event in streamed(events, include=["reasoning.encrypted_content"])}
    assert not any("summary" in kind for kind in kinds)


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("max_tokens", "max_output_tokens"),
        ("model_context_window_exceeded", "max_output_tokens"),
        ("refusal", "content_filter"),
    ],
)
def test_mark_truncated_answer_incomplete(stop_reason: str, reason: str) -> None:
    events = answer(TEXT, stop_reason=stop_reason)
    assert streamed(events)[-1]["type"] == "response.incomplete"
    assert plain(events)["status"] == "incomplete"
    assert plain(events)["incomplete_details"] == {"reason": reason}


def test_return_refusal_as_its_own_part() -> None:
    events = answer(TEXT, stop_reason="refusal")
    assert plain(events)["output"][-1]["content"] == [{"type": "refusal", "refusal": "No, sorry."}]
    assert "response.refusal.done" in [event["type"] for event in streamed(events)]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FailureKind.RATE_LIMITED, "rate_limit_exceeded"),
        (FailureKind.INVALID_REQUEST, "invalid_prompt"),
        (FailureKind.STALL, "server_error"),
    ],
)
def test_fail_response_and_raise_on_error_in_stream(kind: FailureKind, code: str) -> None:
    encoder = ResponsesStream(responses({}).reply, created=7)
    before = payloads(encoder.encode(answer(TEXT)[:3]))
    failed, error = payloads(encoder.failure(ProxyError(kind, "It failed.")))
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": code, "message": "It failed."}
    assert error["type"] == "error"
    assert error["error"]["message"] == error["message"] == "It failed."
    assert [failed["sequence_number"], error["sequence_number"]] == [len(before), len(before) + 1]


def test_send_only_error_before_first_event() -> None:
    data = ResponsesStream(responses({}).reply, created=7).failure(ProxyError(FailureKind.STALL, "x"))
    assert [payload["type"] for payload in payloads(data)] == ["error"]


def test_send_ping_as_comment() -> None:
    assert ResponsesStream(responses({}).reply, created=7).ping() == b": ping\n\n"
