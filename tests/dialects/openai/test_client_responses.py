"""Responses with the official client, over a real port, through the real CLI."""

import json
import secrets
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.dialects.openai.support import PNG
from tests.support.stand_in import StandInProcess

MODEL = "claude-haiku-4-5"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


class Sum(BaseModel):
    a: int
    terms: list[str]


@pytest.fixture
def mark() -> str:
    """A text that finds this test's exchanges at the stand-in."""
    return f"mark-{secrets.token_hex(8)}"


def test_return_plain_answer(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model=MODEL, instructions="be brief", input="[[say=Hello there]][[in=9]][[out=3]]"
    )
    assert response.output_text == "Hello there"
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.output_tokens == 3
    assert response.instructions == "be brief"


def test_streamed_events_end_with_the_whole_response(client: openai.OpenAI) -> None:
    with client.responses.create(model=MODEL, input="[[n=10]]", stream=True) as stream:
        events: list[Any] = list(stream)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == text
    assert text.split() == [f"tok{number}" for number in range(10)]


async def test_answer_async_client_streamed_and_plain(async_client: openai.AsyncOpenAI) -> None:
    whole = await async_client.responses.create(model=MODEL, input="[[say=whole]]")
    async with async_client.responses.stream(model=MODEL, input="[[say=in pieces]]") as stream:
        streamed = await stream.get_final_response()
    assert whole.output_text == "whole"
    assert streamed.output_text == "in pieces"


@pytest.mark.parametrize("stream", [False, True])
def test_give_helpers_instance_of_their_model(client: openai.OpenAI, stream: bool) -> None:
    asked: Any = {"model": MODEL, "input": '[[say={"a": 3, "terms": ["1"]}]]', "text_format": Sum}
    if stream:
        with client.responses.stream(**asked) as events:
            parsed: Any = events.get_final_response().output_parsed
    else:
        parsed = client.responses.parse(**asked).output_parsed
    assert parsed == Sum(a=3, terms=["1"])


def test_complete_tool_loop_with_two_parallel_calls(client: openai.OpenAI, stand_in: StandInProcess, mark: str) -> None:
    calls = '[[tool=get_weather:{"city":"Rome"}]][[tool=get_weather:{"city":"Oslo"}]]'
    items: list[Any] = [{"role": "user", "content": f"{mark} {calls}"}]
    with client.responses.stream(model=MODEL, input=items, tools=[WEATHER]) as stream:
        first = stream.get_final_response()
    items += first.output
    for item in first.output:
        assert item.type == "function_call"
        city = json.loads(item.arguments)["city"]
        items.append({"type": "function_call_output", "call_id": item.call_id, "output": f"{city} is sunny"})
    second = client.responses.create(model=MODEL, input=items, tools=[WEATHER])
    assert "Rome is sunny" in second.output_text
    assert "Oslo is sunny" in second.output_text
    sent = stand_in.recorded(containing=mark)[-1].body["messages"]
    assert [block["type"] for block in sent[1]["content"]] == ["tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in sent[2]["content"]] == [block["id"] for block in sent[1]["content"]]


def test_thinking_is_carried_by_the_client_from_turn_to_turn(
    client: openai.OpenAI, stand_in: StandInProcess, mark: str
) -> None:
    asked: Any = {
        "model": MODEL,
        "tools": [WEATHER],
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    items: list[Any] = [{"role": "user", "content": f'{mark}[[think=Hm.]][[tool=get_weather:{{"city":"Rome"}}]]'}]
    first = client.responses.create(input=items, **asked)
    thought, call = first.output
    assert thought.type == "reasoning"
    assert thought.summary[0].text == "Hm."
    assert call.type == "function_call"
    items += [thought, call, {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    client.responses.create(input=items, **asked)
    sent = stand_in.recorded(containing=mark)[-1].body
    assert sent["thinking"]["type"] == "enabled"
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["thinking", "tool_use"]
    assert sent["messages"][1]["content"][0]["thinking"] == "Hm."


def test_send_image_upstream(client: openai.OpenAI, stand_in: StandInProcess, mark: str) -> None:
    parts: Any = [
        {"type": "input_text", "text": mark},
        {"type": "input_image", "image_url": PNG, "detail": "auto"},
    ]
    client.responses.create(model=MODEL, input=[{"role": "user", "content": parts}])
    assert stand_in.only(mark).body["messages"][0]["content"][1]["source"]["media_type"] == "image/png"


def test_mark_truncated_answer_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="[[say=x]][[stop=max_tokens]]")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_reject_store_dependent_field_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="hi", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"


def test_raise_clients_exception_for_upstream_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model=MODEL, input="[[status=429]]")


def test_raise_after_response_failed_on_error_in_stream(client: openai.OpenAI) -> None:
    seen: list[Any] = []
    stream = client.responses.create(model=MODEL, input="[[n=50]][[miderror=3]]", stream=True)
    with stream, pytest.raises(openai.APIError, match="Overloaded"):
        seen.extend(stream)
    assert seen[-1].type == "response.failed"
