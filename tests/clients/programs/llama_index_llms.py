"""LlamaIndex with Anthropic, OpenAI (Chat Completions and Responses) and OpenAI-like models."""

import asyncio
import base64
import gc
from typing import Any

from features import (
    ENDLESS,
    GATEWAY,
    KEY,
    MODEL,
    RED_PIXEL,
    TWO_TOOLS,
    caught,
    city_weather,
    feature,
    left,
    mark,
    run,
    seen,
)
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

ALIAS = "gpt-4o"
"""The OpenAI classes know only OpenAI's names; the stand-in answers any."""


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def anthropic_messages(**options: Any) -> Any:
    return Anthropic(model=MODEL, base_url=GATEWAY, api_key=KEY, **options)


def openai_chat(**options: Any) -> Any:
    return OpenAI(model=ALIAS, api_base=f"{GATEWAY}/v1", api_key=KEY, **options)


def openai_responses(**options: Any) -> Any:
    return OpenAIResponses(model=ALIAS, api_base=f"{GATEWAY}/v1", api_key=KEY, **options)


def openai_like(**options: Any) -> Any:
    named = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 200_000}
    return OpenAILike(model=MODEL, api_base=f"{GATEWAY}/v1", api_key=KEY, **named, **options)


ALL = [anthropic_messages, openai_chat, openai_responses, openai_like]


def weather(city: str) -> str:
    """The weather of a city."""
    return city_weather(city)


def say(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


@feature("plain", over=ALL)
def plain(model: Any) -> None:
    assert model().chat(say("[[say=Good day]]")).message.content == "Good day"


@feature("streaming", over=ALL)
def streaming(model: Any) -> None:
    text = "".join(chunk.delta or "" for chunk in model().stream_chat(say("[[n=5]]")))
    assert text == "tok0 tok1 tok2 tok3 tok4 ", text


@feature("tool loop", over=ALL)
async def tool_loop(model: Any) -> None:
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(weather)], llm=model())
    found = seen(str(await agent.run(TWO_TOOLS)))
    assert found["results"] == 2, found


@feature("structured output", over=ALL)
def structured_output(model: Any) -> None:
    answer = model().as_structured_llm(Person).chat(say("Ada is 36. Person, please."))
    assert isinstance(answer.raw, Person), answer


@feature("image and PDF", over=ALL)
def image_and_pdf(model: Any) -> None:
    image = ImageBlock(image=base64.b64decode(RED_PIXEL), image_mimetype="image/png")
    message = ChatMessage(role="user", blocks=[TextBlock(text="[[seen]]"), image])
    found = seen(model().chat([message]).message.content)
    assert found["images"] == 1, found


@feature("errors", over=ALL)
def errors(model: Any) -> None:
    for status in (429, 529):
        error: Any = caught(Exception, lambda status=status: model(max_retries=0).chat(say(f"[[status={status}]]")))
        assert error.status_code in {status, 503}, error
    stream = model(max_retries=0).stream_chat(say("[[n=9]] [[gap=0.01]] [[miderror=3]] [[message=Overloaded]]"))
    assert "verloaded" in str(caught(Exception, lambda: list(stream)))


@feature("cancel", over=ALL)
async def cancel(model: Any) -> None:
    word = mark()

    async def begin() -> None:
        stream = await model().astream_chat(say(f"{word} {ENDLESS}"))
        async for _ in stream:
            break
        await stream.aclose()

    await begin()
    for _ in range(5):  # LlamaIndex leaves closing Anthropic's stream, and the generator around it, to the collector
        gc.collect()
        await asyncio.sleep(0.05)
    await asyncio.to_thread(left, word)
    assert (await model().achat(say("[[say=next]]"))).message.content == "next"


@feature("second user turn", over=ALL)
def second_user_turn(model: Any) -> None:
    first = model().chat(say("[[say=one]]")).message
    found = seen(model().chat([*say("before"), first, *say("[[seen]]")]).message.content)
    assert found["messages"] == 3, found


run()
