"""Calls of an agent's tools in both APIs: text about them in Chat Completions, items in Responses."""

import json
from typing import Any

import pytest

from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.translate.messages_body import Reply, Target
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer
from apiproxy.dialects.openai.translate.tool_activity import MAX_RESULT_CHARS
from tests.dialects.openai.support import MODEL, Events, answer, folded, payloads

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
CALL = {"type": "mcp_tool_use", "id": "toolu_1", "name": "Bash", "server_name": "agent", "input": {"command": "ls"}}
RESULT = {
    "type": "mcp_tool_result",
    "tool_use_id": "toolu_1",
    "is_error": False,
    "content": [{"type": "text", "text": "a.txt"}],
}
SECOND = {"type": "mcp_tool_use", "id": "toolu_2", "name": "draw", "server_name": "art", "input": {}}
PICTURE = {"type": "mcp_tool_result", "tool_use_id": "toolu_2", "is_error": False, "content": [IMAGE]}
FAILED = {**RESULT, "is_error": True, "content": [{"type": "text", "text": "no such file"}]}
THOUGHT = {"type": "thinking", "thinking": "Hm. ", "signature": "sig"}
TARGET = Target(model=MODEL, max_output_tokens=1_000, kept_as="support-bot", server_tools=ServerToolOffer(own_mcp=True))


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


STEPS = (text("Looking."), CALL, SECOND, RESULT, PICTURE, text("Done."))


def streamed(events: Events, **reply: Any) -> dict[str, str]:
    """Text and reasoning of a streamed completion."""
    encoder = ChatStream(Reply(**reply), created=7)
    said = {"content": "", "reasoning_content": ""}
    for chunk in payloads(encoder.encode(events) + encoder.finish()):
        for name in said:
            said[name] += chunk["choices"][0]["delta"].get(name) or ""
    return said


@pytest.mark.parametrize("reasoning", [False, True])
def test_say_the_same_streamed_or_not(reasoning: bool) -> None:
    events = answer(THOUGHT, *STEPS)

    message = completion(folded(events), Reply(reasoning=reasoning), created=7)["choices"][0]["message"]

    said = streamed(events, reasoning=reasoning)
    assert said == {"content": message["content"], "reasoning_content": message.get("reasoning_content", "")}
    assert message["content"] == "Looking.\n\nDone."


def test_tell_of_calls_where_reasoning_is_shown() -> None:
    assert streamed(answer(*STEPS), reasoning=True)["reasoning_content"].split("\n\n") == [
        '\n[call] agent/Bash {"command":"ls"}',
        "[call] art/draw {}",
        "[result] agent/Bash a.txt",
        "[result] art/draw [image]\n",
    ]
    assert "no such file" in streamed(answer(CALL, FAILED), reasoning=True)["reasoning_content"]
    assert not streamed(answer(*STEPS))["reasoning_content"]


def test_bound_text_about_a_result() -> None:
    long = {**RESULT, "content": [text("x" * 100_000)]}

    assert len(streamed(answer(CALL, long), reasoning=True)["reasoning_content"]) < MAX_RESULT_CHARS + 200


def test_end_paused_answers_as_cut_off() -> None:
    events = answer(*STEPS, stop_reason="pause_turn")
    reply = translate_responses(read_responses({"model": "a", "input": "hi"}), target=TARGET, strict=False).reply

    assert completion(folded(events), Reply(), created=7)["choices"][0]["finish_reason"] == "length"
    response = response_object(folded(events), reply, created=7)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_announce_calls_and_failures_as_events() -> None:
    reply = translate_responses(read_responses({"model": "a", "input": "hi"}), target=TARGET, strict=False).reply
    encoder = ResponsesStream(reply, created=7)

    events = payloads(encoder.encode(answer(CALL, FAILED, SECOND, PICTURE)) + encoder.finish())

    kinds = [event["type"].removeprefix("response.") for event in events]
    assert [kind for kind in kinds if kind.startswith("mcp_call.")] == [
        "mcp_call.in_progress",
        "mcp_call.failed",
        "mcp_call.in_progress",
        "mcp_call.completed",
    ]
    items = events[-1]["response"]["output"]
    assert [(item["server_label"], item["name"], item["status"]) for item in items] == [
        ("agent", "Bash", "failed"),
        ("art", "draw", "completed"),
    ]
    assert items[0]["error"]["content"][0]["text"] == "no such file"
    assert items[1]["output"] == "[image]"


def test_send_items_of_agents_back_without_declaration() -> None:
    reply = translate_responses(read_responses({"model": "a", "input": "hi"}), target=TARGET, strict=False).reply
    listing = {"type": "mcp_tool_listing", "mcp_server_name": "art", "tools": [{"name": "draw", "input_schema": {}}]}
    output = response_object(folded(answer(listing, *STEPS)), reply, created=7)["output"]
    assert output[0]["type"] == "mcp_list_tools"

    again = {"model": "a", "input": [{"role": "user", "content": "hi"}, *output, {"role": "user", "content": "more"}]}
    translated = translate_responses(read_responses(json.loads(json.dumps(again))), target=TARGET, strict=True)

    kinds = [block["type"] for block in translated.body["messages"][1]["content"]]
    assert kinds == ["text", "mcp_tool_use", "mcp_tool_result", "mcp_tool_use", "mcp_tool_result", "text"]
    assert "tools" not in translated.body
