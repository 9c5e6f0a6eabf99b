"""Answers of the embedded stand-in, read by the official client."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, ToolUseBlock

from apiproxy.standin import start
from apiproxy.standin.demo import INTRODUCTION
from tests.support.official import MODEL, ask, text_of

WEATHER: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
async def client() -> AsyncIterator[anthropic.AsyncAnthropic]:
    server = await start()
    async with anthropic.AsyncAnthropic(api_key="sk", base_url=server.base_url, max_retries=0) as client:
        yield client
    await server.close()


def tool_of(message: Message) -> ToolUseBlock:
    (block,) = [block for block in message.content if isinstance(block, ToolUseBlock)]
    return block


async def test_mark_demo_answer_and_repeat_the_prompt(client: anthropic.AsyncAnthropic) -> None:
    message = await ask(client, "What is the capital of France?")

    assert text_of(message) == f"{INTRODUCTION} You said: What is the capital of France?"
    assert message.stop_reason == "end_turn"
    assert message.model == MODEL


async def test_call_named_tool_with_valid_arguments(client: anthropic.AsyncAnthropic) -> None:
    message = await ask(client, "Use get weather for Paris, please", tools=[WEATHER])

    assert tool_of(message).name == "get_weather"
    assert tool_of(message).input == {"city": "demo"}
    assert message.stop_reason == "tool_use"


async def test_answer_tool_result_without_second_call(client: anthropic.AsyncAnthropic) -> None:
    first = await ask(client, "get_weather, please", tools=[WEATHER])
    result: Any = {"type": "tool_result", "tool_use_id": tool_of(first).id, "content": "21 °C; get_weather is happy"}
    messages: Any = [
        {"role": "user", "content": "get_weather, please"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]

    message = await ask(client, "", messages=messages, tools=[WEATHER])

    assert "Your tool answered: 21 °C" in text_of(message)
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize("prompt", ["What is the weather?", "forget_weathers"])
async def test_call_only_tools_that_are_named(client: anthropic.AsyncAnthropic, prompt: str) -> None:
    message = await ask(client, prompt, tools=[WEATHER])

    assert [block.type for block in message.content] == ["text"]


async def test_obey_tool_choice(client: anthropic.AsyncAnthropic) -> None:
    other: Any = {"name": "other", "input_schema": {"type": "object"}}

    forced = await ask(client, "Hi", tools=[other, WEATHER], tool_choice={"type": "tool", "name": "get_weather"})
    any_tool = await ask(client, "Hi", tools=[other, WEATHER], tool_choice={"type": "any"})
    none = await ask(client, "get_weather", tools=[WEATHER], tool_choice={"type": "none"})

    assert [block.type for block in forced.content] == ["tool_use"]
    assert tool_of(forced).name == "get_weather"
    assert tool_of(any_tool).name == "other"
    assert [block.type for block in none.content] == ["text"]


async def test_thinking_comes_before_the_answer_where_it_is_on(client: anthropic.AsyncAnthropic) -> None:
    message = await ask(client, "Hi", thinking={"type": "enabled", "budget_tokens": 1024})

    assert [block.type for block in message.content] == ["thinking", "text"]


async def test_images_are_acknowledged(client: anthropic.AsyncAnthropic) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"png").decode()}
    image = {"type": "image", "source": source}

    message = await ask(client, [image, image, {"type": "text", "text": "Look"}])

    assert "You sent 2 images" in text_of(message)


async def test_structured_output_fits_its_schema(client: anthropic.AsyncAnthropic) -> None:
    form = {"type": "json_schema", "schema": WEATHER["input_schema"]}

    message = await ask(client, "Hi", extra_body={"output_config": {"format": form}})

    assert text_of(message) == '{"city":"demo"}'


async def test_end_long_answer_at_max_tokens(client: anthropic.AsyncAnthropic) -> None:
    message = await ask(client, "Hi", max_tokens=5)

    assert message.stop_reason == "max_tokens"
    assert text_of(message) == INTRODUCTION[:20]


async def test_write_cached_prompt_once_then_read_it(client: anthropic.AsyncAnthropic) -> None:
    system: Any = [{"type": "text", "text": "You are kind. " * 100, "cache_control": {"type": "ephemeral"}}]

    first = (await ask(client, "one", system=system)).usage
    second = (await ask(client, "two", system=system)).usage
    plain = (await ask(client, "three")).usage

    assert first.cache_creation_input_tokens == second.cache_read_input_tokens == 350
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0
    assert plain.cache_read_input_tokens == plain.cache_creation_input_tokens == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 'messages: Unexpected role "robot"'),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"extra_body": {"max_tokens": "many"}}, "max_tokens: Input should be a valid integer"),
    ],
)
async def test_reject_body_that_is_no_request(
    client: anthropic.AsyncAnthropic, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=message):
        await ask(client, "Hi", **change)


async def test_tokens_are_counted(client: anthropic.AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "abcd" * 10}])

    assert counted.input_tokens == 10


async def test_models_are_listed_and_found(client: anthropic.AsyncAnthropic) -> None:
    listed = [model.id async for model in client.models.list()]

    assert (await client.models.retrieve(listed[0])).id == listed[0]
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("unheard-of")


async def test_stream_same_message_as_whole_answer(client: anthropic.AsyncAnthropic) -> None:
    whole = await ask(client, "Use get weather", tools=[WEATHER])
    async with client.messages.stream(
        model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": "Use get weather"}], tools=[WEATHER]
    ) as stream:
        streamed = await stream.get_final_message()

    assert [block.type for block in streamed.content] == ["text", "tool_use"]
    assert text_of(streamed) == text_of(whole)
    assert tool_of(streamed).input == tool_of(whole).input
    assert streamed.usage.to_dict() == whole.usage.to_dict()


async def test_end_text_before_stop_sequence(client: anthropic.AsyncAnthropic) -> None:
    message = await ask(client, "one two three two", stop_sequences=["three", "two"])

    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "two")
    assert text_of(message) == f"{INTRODUCTION} You said: one "


@pytest.mark.parametrize(
    "prompt", ["[[status=500]]", "[[drop]]", "[[silent]]", "[[flaky=k:9:529]]", "[[say=x]]", "[[n=x]]"]
)
async def test_keep_prompt_from_controlling_demo(client: anthropic.AsyncAnthropic, prompt: str) -> None:
    message = await ask(client, prompt)
    counted = await client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": prompt}])

    assert text_of(message) == f"{INTRODUCTION} You said: {prompt}"
    assert message.stop_reason == "end_turn"
    assert counted.input_tokens > 0
