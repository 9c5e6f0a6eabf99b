"""LiteLLM as a library: anthropic/, openai/, openai/responses/ and litellm_proxy/."""

import asyncio
import json
import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from features import (
    EMPTY_PDF,
    ENDLESS,
    GATEWAY,
    KEY,
    MODEL,
    PERSON,
    RED_PIXEL,
    TWO_TOOLS,
    Skip,
    caught,
    city_weather,
    feature,
    left,
    mark,
    run,
    seen,
)
from pydantic import BaseModel

litellm.telemetry = False
litellm.suppress_debug_info = True
PROVIDERS = ("anthropic/", "openai/", "openai/responses/", "litellm_proxy/")
STREAMING = tuple(provider for provider in PROVIDERS if provider != "openai/responses/")
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Person(BaseModel):
    name: str
    age: int


def options(provider: str, given: Any, **fields: Any) -> dict[str, Any]:
    base = GATEWAY if provider == "anthropic/" else f"{GATEWAY}/v1"
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return {"model": provider + MODEL, "messages": messages, "api_base": base, "api_key": KEY, **fields}


def ask(provider: str, given: Any, **fields: Any) -> Any:
    return litellm.completion(**options(provider, given, **fields))


def text(answer: Any) -> str:
    return str(answer.choices[0].message.content)


@feature("plain", over=PROVIDERS)
def plain(provider: str) -> None:
    answer = ask(provider, "[[say=Good day]] [[in=12]] [[out=3]]")
    assert (text(answer), answer.usage.total_tokens) == ("Good day", 15), answer


@feature("streaming", over=PROVIDERS)
def streaming(provider: str) -> None:
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(provider, "[[n=5]]", stream=True)]
    assert "".join(pieces) == "tok0 tok1 tok2 tok3 tok4 ", pieces


@feature("tool loop", over=PROVIDERS)
def tool_loop(provider: str) -> None:
    messages: list[Any] = [{"role": "user", "content": TWO_TOOLS}]
    message = ask(provider, messages, tools=[TOOL]).choices[0].message
    arguments = [json.loads(call.function.arguments) for call in message.tool_calls]
    assert [it["city"] for it in arguments] == ["Rome", "Oslo"], message
    messages.append(message)
    for call, it in zip(message.tool_calls, arguments, strict=True):
        messages.append({"role": "tool", "tool_call_id": call.id, "content": city_weather(it["city"])})
    found = seen(text(ask(provider, messages, tools=[TOOL])))
    assert (found["messages"], found["results"]) == (3, 2), found


@feature("structured output", over=PROVIDERS)
def structured_output(provider: str) -> None:
    assert Person.model_validate_json(text(ask(provider, PERSON, response_format=Person))).age == 36


@feature("image and PDF", over=PROVIDERS)
def image_and_pdf(provider: str) -> None:
    content = [
        {"type": "text", "text": "[[seen]]"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED_PIXEL}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{EMPTY_PDF}"}},
    ]
    found = seen(text(ask(provider, [{"role": "user", "content": content}])))
    assert (found["images"], found["documents"]) == (1, 1), found


@feature("errors", over=PROVIDERS)
def errors(provider: str) -> None:
    def failing(prompt: str, **fields: Any) -> Any:
        return ask(provider, prompt, max_retries=0, num_retries=0, **fields)

    caught(litellm.RateLimitError, lambda: failing("[[status=429]]"))
    kinds = (litellm.ServiceUnavailableError, litellm.InternalServerError)
    caught(kinds, lambda: failing("[[status=529]]"))
    if provider in STREAMING:
        stream = failing("[[n=9]] [[gap=0.01]] [[miderror=3]] [[message=Overloaded]]", stream=True)
        assert "verloaded" in str(caught(Exception, lambda: list(stream)))


@feature("cancel", over=STREAMING)
async def cancel(provider: str) -> None:
    word = mark()

    async def begin() -> None:
        stream: Any = await litellm.acompletion(**options(provider, f"{word} {ENDLESS}", stream=True))
        async for _ in stream:
            break
        await stream.aclose()

    await begin()
    await asyncio.to_thread(left, word)
    assert text(ask(provider, "[[say=next]]")) == "next"


@feature("broken and cancelled stream of openai/responses/")
def stream_of_responses() -> None:
    raise Skip("for a model that it does not know, it asks without a stream and makes one of the whole answer")


@feature("second user turn", over=PROVIDERS)
def second_user_turn(provider: str) -> None:
    before: list[Any] = [{"role": "user", "content": "[[say=one]]"}]
    message = ask(provider, before).choices[0].message
    found = seen(text(ask(provider, [*before, message, {"role": "user", "content": "[[seen]]"}])))
    assert found["messages"] == 3, found


@feature("thinking in a tool loop", over=PROVIDERS)
def thinking(provider: str) -> None:
    messages: list[Any] = [{"role": "user", "content": f"[[think=hm]] {TWO_TOOLS}"}]
    message = ask(provider, messages, tools=[TOOL], reasoning_effort="medium").choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "20"} for call in message.tool_calls]
    found = seen(text(ask(provider, [*messages, message, *results], tools=[TOOL], reasoning_effort="medium")))
    assert found["thinking"] == 1, found


run()
