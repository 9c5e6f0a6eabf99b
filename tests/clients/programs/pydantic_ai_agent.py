"""Pydantic AI with the Messages API, Chat Completions and Responses."""

import asyncio
import base64
from typing import Any

from features import (
    EMPTY_PDF,
    ENDLESS,
    GATEWAY,
    KEY,
    MODEL,
    PERSON,
    RED_PIXEL,
    TWO_TOOLS,
    caught_in,
    city_weather,
    feature,
    left,
    mark,
    run,
    seen,
)
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

LOOP = 20
CALL = '[[tool=final_result:{"name": "Ada", "age": 36}]]'


class Person(BaseModel):
    name: str
    age: int


def messages_api() -> Any:
    return AnthropicModel(MODEL, provider=AnthropicProvider(base_url=GATEWAY, api_key=KEY))


def chat() -> Any:
    return OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{GATEWAY}/v1", api_key=KEY))


def responses() -> Any:
    return OpenAIResponsesModel(MODEL, provider=OpenAIProvider(base_url=f"{GATEWAY}/v1", api_key=KEY))


ALL = [messages_api, chat, responses]


def weather(city: str) -> str:
    """The weather of a city."""
    return city_weather(city)


@feature("plain", over=ALL)
async def plain(model: Any) -> None:
    result = await Agent(model()).run("[[say=Good day]] [[in=12]] [[out=3]]")
    assert result.output == "Good day", result


@feature("streaming", over=ALL)
async def streaming(model: Any) -> None:
    async with Agent(model()).run_stream("[[n=5]] [[gap=0.01]]") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    assert pieces == [f"tok{number} " for number in range(5)], pieces


@feature("tool loop", over=ALL)
async def tool_loop(model: Any) -> None:
    found = seen((await Agent(model(), tools=[weather]).run(TWO_TOOLS)).output)
    assert (found["messages"], found["results"]) == (3, 2), found


@feature("20 steps", over=ALL)
async def twenty_steps(model: Any) -> None:
    steps = " [[then]] ".join(f'[[tool=weather:{{"city": "c{number}"}}]]' for number in range(LOOP))
    result = await Agent(model(), tools=[weather]).run(f"{steps} [[then]] [[seen]]")
    assert seen(result.output)["results"] == LOOP


@feature("structured output", over=ALL)
async def structured_output(model: Any) -> None:
    native = await Agent(model(), output_type=NativeOutput(Person)).run(PERSON)
    assert native.output == Person(name="Ada", age=36), native
    by_tool = await Agent(model(), output_type=ToolOutput(Person)).run(CALL)
    assert by_tool.output == Person(name="Ada", age=36), by_tool


@feature("forced function", over=ALL)
async def forced_function(model: Any) -> None:
    # For Anthropic, pydantic-ai knows the models that reject forced tools, and leaves the call to them.
    asked = CALL if model is messages_api else "Ada is 36."
    assert isinstance((await Agent(model(), output_type=ToolOutput(Person)).run(asked)).output, Person)


@feature("image and PDF", over=ALL)
async def image_and_pdf(model: Any) -> None:
    image = BinaryContent(base64.b64decode(RED_PIXEL), media_type="image/png")
    pdf = BinaryContent(base64.b64decode(EMPTY_PDF), media_type="application/pdf")
    found = seen((await Agent(model()).run(["[[seen]]", image, pdf])).output)
    assert (found["images"], found["documents"]) == (1, 1), found


@feature("errors", over=ALL)
async def errors(model: Any) -> None:
    for status in (429, 529):
        error: Any = await caught_in(Exception, Agent(model()).run(f"[[status={status}]]"))
        assert error.status_code in {status, 503}, error

    async def read() -> None:
        async with Agent(model()).run_stream("[[n=9]] [[gap=0.01]] [[miderror=3]] [[message=Overloaded]]") as result:
            _ = [piece async for piece in result.stream_text(debounce_by=None)]

    assert "verloaded" in str(await caught_in(Exception, read()))


@feature("cancel", over=ALL)
async def cancel(model: Any) -> None:
    word = mark()

    async def begin() -> None:
        async with Agent(model()).run_stream(f"{word} {ENDLESS}") as result:
            async for _ in result.stream_text(debounce_by=None):
                raise TimeoutError

    await caught_in(TimeoutError, begin())
    await asyncio.to_thread(left, word)
    assert (await Agent(model()).run("[[say=next]]")).output == "next"


@feature("second user turn", over=ALL)
async def second_user_turn(model: Any) -> None:
    agent = Agent(model())
    first = await agent.run("[[say=one]]")
    found = seen((await agent.run("[[seen]]", message_history=first.all_messages())).output)
    assert found["messages"] == 3, found


@feature("thinking in a tool loop", over=ALL)
async def thinking(model: Any) -> None:
    settings: dict[str, Any] = {"anthropic_thinking": {"type": "adaptive"}, "openai_reasoning_effort": "medium"}
    agent = Agent(model(), tools=[weather], model_settings=settings)  # type: ignore[arg-type]
    found = seen((await agent.run(f"[[think=hm]] {TWO_TOOLS}")).output)
    assert found["thinking"] == 1, found


run()
