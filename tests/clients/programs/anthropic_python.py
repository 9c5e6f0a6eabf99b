"""The official `anthropic` package."""

import asyncio
from typing import Any

import anthropic
from anthropic import beta_tool
from features import (
    EMPTY_PDF,
    ENDLESS,
    GATEWAY,
    KEY,
    MODEL,
    PERSON,
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
from pydantic import BaseModel

RUNNER_STEPS = 12
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
client = anthropic.Anthropic(base_url=GATEWAY, api_key=KEY)
once = client.with_options(max_retries=0)


class Person(BaseModel):
    name: str
    age: int


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def ask(messages: Any, *, by: anthropic.Anthropic = client, **fields: Any) -> Any:
    given = [user(messages)] if isinstance(messages, str) else messages
    return by.messages.create(model=MODEL, max_tokens=4000, messages=given, **fields)


def text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@feature("plain")
def plain() -> None:
    message = ask("[[say=Good day]] [[in=12]] [[out=3]]")
    assert (text(message), message.stop_reason, message.usage.input_tokens) == ("Good day", "end_turn", 12), message


@feature("streaming")
async def streaming() -> None:
    with client.messages.stream(model=MODEL, max_tokens=99, messages=[user("[[n=5]]")]) as stream:
        assert list(stream.text_stream) == [f"tok{number} " for number in range(5)]
    async with anthropic.AsyncAnthropic(base_url=GATEWAY, api_key=KEY) as several:
        asked = (several.messages.create(model=MODEL, max_tokens=99, messages=[user(f"[[say={n}]]")]) for n in range(8))
        assert [text(message) for message in await asyncio.gather(*asked)] == [str(number) for number in range(8)]


@feature("tool loop")
def tool_loop() -> None:
    messages = [user(TWO_TOOLS)]
    first = ask(messages, tools=[WEATHER])
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}], first
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": city_weather(call.input["city"])} for call in calls
    ]
    found = seen(
        text(ask([*messages, {"role": "assistant", "content": first.content}, user(results)], tools=[WEATHER]))
    )
    assert (found["messages"], found["results"]) == (3, 2), found


@feature("structured output")
def structured_output() -> None:
    message = client.messages.parse(model=MODEL, max_tokens=99, messages=[user(PERSON)], output_format=Person)
    assert message.parsed_output == Person(name="Ada", age=36), message


@feature("image and PDF")
def image_and_pdf() -> None:
    sources = [("image", "image/png", RED_PIXEL), ("document", "application/pdf", EMPTY_PDF)]
    blocks = [
        {"type": kind, "source": {"type": "base64", "media_type": media, "data": data}} for kind, media, data in sources
    ]
    found = seen(text(ask([user([*blocks, {"type": "text", "text": "[[seen]]"}])])))
    assert (found["images"], found["documents"]) == (1, 1), found


@feature("errors")
def errors() -> None:
    for status, kind in ((429, anthropic.RateLimitError), (529, anthropic.APIStatusError)):
        error: Any = caught(kind, lambda status=status: ask(f"[[status={status}]] [[message=not now]]", by=once))
        assert (error.status_code, error.body["error"]["message"]) == (status, "not now"), error
    stream = ask("[[n=9]] [[gap=0.01]] [[miderror=3]] [[message=Overloaded]]", by=once, stream=True)
    error = caught(anthropic.APIStatusError, lambda: list(stream))
    assert "Overloaded" in str(error), error


@feature("retry-after")
def retry_after() -> None:
    error: Any = caught(anthropic.RateLimitError, lambda: ask("[[status=429]] [[retry_after=7]]", by=once))
    assert error.response.headers.get("retry-after") == "7", dict(error.response.headers)


@feature("cancel")
def cancel() -> None:
    word = mark()
    with ask(f"{word} {ENDLESS}", stream=True) as stream:
        next(iter(stream))
    left(word)
    assert text(ask("[[say=next]]")) == "next"


@feature("second user turn")
def second_user_turn() -> None:
    first = ask("[[think=let me see]] [[say=one]]", thinking={"type": "adaptive"})
    messages = [user("before"), {"role": "assistant", "content": first.content}, user("[[seen]]")]
    found = seen(text(ask(messages, thinking={"type": "adaptive"})))
    assert (found["messages"], found["thinking"]) == (3, 1), found


@feature("12 turns of tool_runner")
async def tool_runner() -> None:
    taken: list[int] = []

    @beta_tool
    def step(number: int) -> str:
        """Take a step.

        Args:
            number: which
        """
        taken.append(number)
        following = f'[[tool=step:{{"number": {number + 1}}}]]' if number < RUNNER_STEPS else "[[say=arrived]]"
        return f"done {following}"

    runner = client.beta.messages.tool_runner(
        model=MODEL, max_tokens=4000, tools=[step], messages=[user('[[tool=step:{"number": 1}]]')]
    )
    assert text(runner.until_done()) == "arrived"
    assert taken == list(range(1, RUNNER_STEPS + 1)), taken


@feature("count_tokens")
def count_tokens() -> None:
    assert client.messages.count_tokens(model=MODEL, messages=[user("hello " * 100)]).input_tokens > 50


@feature("models")
def models() -> None:
    ids = [model.id for model in client.models.list(limit=2)]
    assert MODEL in ids, ids
    assert client.models.retrieve(MODEL).id == MODEL


run()
