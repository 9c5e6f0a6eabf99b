"""The official `openai` package: Chat Completions, Responses, and the asynchronous client."""

import asyncio
import json
from typing import Any

import openai
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

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: Any = {"name": "weather", "description": "The weather of a city.", "parameters": SCHEMA, "strict": True}
CHAT_TOOL: Any = {"type": "function", "function": FUNCTION}
TOOL: Any = {"type": "function", **FUNCTION}
BOTH = ("chat", "responses")
client = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY)
once = client.with_options(max_retries=0)


class Person(BaseModel):
    name: str
    age: int


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def ask(api: str, given: Any, *, by: openai.OpenAI = client, **fields: Any) -> Any:
    if api == "responses":
        return by.responses.create(model=MODEL, input=given, **fields)
    messages = [user(given)] if isinstance(given, str) else given
    return by.chat.completions.create(model=MODEL, messages=messages, **fields)


def text(answer: Any) -> str:
    return str(answer.output_text if answer.object == "response" else answer.choices[0].message.content)


def city_of(call: Any) -> str:
    return str(json.loads(call.arguments)["city"])


@feature("plain", over=BOTH)
def plain(api: str) -> None:
    answer = ask(api, "[[say=Good day]] [[in=12]] [[out=3]]")
    assert text(answer) == "Good day", answer
    assert answer.usage.total_tokens == 15, answer.usage


@feature("streaming", over=BOTH)
async def streaming(api: str) -> None:
    if api == "chat":
        chunks = ask(api, "[[n=5]]", stream=True, stream_options={"include_usage": True})
        pieces = [(chunk.choices[0].delta.content or "", chunk.usage) for chunk in chunks if chunk.choices]
        assert "".join(piece for piece, _ in pieces) == "".join(f"tok{number} " for number in range(5)), pieces
    else:
        with client.responses.stream(model=MODEL, input="[[n=5]]") as stream:
            events = [event.type for event in stream]
            assert events.count("response.output_text.delta") == 5, events
            assert stream.get_final_response().status == "completed"
    async with openai.AsyncOpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY) as several:
        made = (several.responses.create(model=MODEL, input=f"[[say={number}]]") for number in range(8))
        assert [answer.output_text for answer in await asyncio.gather(*made)] == [str(number) for number in range(8)]


@feature("tool loop")
def tool_loop() -> None:
    messages = [user(TWO_TOOLS)]
    message = ask("chat", messages, tools=[CHAT_TOOL]).choices[0].message
    assert [city_of(it.function) for it in message.tool_calls] == ["Rome", "Oslo"], message
    results = [
        {"role": "tool", "tool_call_id": it.id, "content": city_weather(city_of(it.function))}
        for it in message.tool_calls
    ]
    found = seen(text(ask("chat", [*messages, message, *results], tools=[CHAT_TOOL])))
    assert (found["messages"], found["results"]) == (3, 2), found

    output = ask("responses", messages, tools=[TOOL]).output
    calls = [item for item in output if item.type == "function_call"]
    assert [city_of(call) for call in calls] == ["Rome", "Oslo"], output
    results = [
        {
            "type": "function_call_output",
            "call_id": it.call_id,
            "output": city_weather(json.loads(it.arguments)["city"]),
        }
        for it in calls
    ]
    found = seen(text(ask("responses", [*messages, *output, *results], tools=[TOOL])))
    assert (found["messages"], found["results"]) == (3, 2), found


@feature("structured output", over=BOTH)
def structured_output(api: str) -> None:
    if api == "chat":
        answer = client.chat.completions.parse(model=MODEL, messages=[user(PERSON)], response_format=Person)
        parsed = answer.choices[0].message.parsed
    else:
        parsed = client.responses.parse(model=MODEL, input=PERSON, text_format=Person).output_parsed
    assert parsed == Person(name="Ada", age=36), parsed


@feature("image and PDF", over=BOTH)
def image_and_pdf(api: str) -> None:
    image, pdf = f"data:image/png;base64,{RED_PIXEL}", f"data:application/pdf;base64,{EMPTY_PDF}"
    chat = [
        {"type": "text", "text": "[[seen]]"},
        {"type": "image_url", "image_url": {"url": image}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}},
    ]
    responses = [
        {"type": "input_text", "text": "[[seen]]"},
        {"type": "input_image", "image_url": image, "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": pdf},
    ]
    found = seen(text(ask(api, [user(chat if api == "chat" else responses)])))
    assert (found["images"], found["documents"]) == (1, 1), found


@feature("errors", over=BOTH)
def errors(api: str) -> None:
    for status, kind in ((429, openai.RateLimitError), (529, openai.InternalServerError)):
        error: Any = caught(kind, lambda status=status: ask(api, f"[[status={status}]] [[message=not now]]", by=once))
        assert "not now" in error.message, error
    stream = ask(api, "[[n=9]] [[gap=0.01]] [[miderror=3]] [[message=Overloaded]]", by=once, stream=True)
    error = caught(openai.APIError, lambda: list(stream))
    assert "Overloaded" in str(error), error


@feature("retry-after", over=BOTH)
def retry_after(api: str) -> None:
    error: Any = caught(openai.RateLimitError, lambda: ask(api, "[[status=429]] [[retry_after=7]]", by=once))
    assert error.response.headers.get("retry-after") == "7", dict(error.response.headers)


@feature("cancel", over=BOTH)
def cancel(api: str) -> None:
    word = mark()
    with ask(api, f"{word} {ENDLESS}", stream=True) as stream:
        next(iter(stream))
    left(word)
    assert text(ask(api, "[[say=next]]")) == "next"


@feature("second user turn", over=BOTH)
def second_user_turn(api: str) -> None:
    if api == "chat":
        message = ask(api, "[[say=one]]").choices[0].message
        found = seen(text(ask(api, [user("before"), message, user("[[seen]]")])))
        assert found["messages"] == 3, found
    else:
        reasoning: Any = {"reasoning": {"effort": "medium"}, "include": ["reasoning.encrypted_content"], "store": False}
        output = ask(api, "[[think=let me see]] [[say=one]]", **reasoning).output
        found = seen(text(ask(api, [user("before"), *output, user("[[seen]]")], **reasoning)))
        assert (found["messages"], found["thinking"]) == (3, 1), found


@feature("item references")
def item_references() -> None:
    output = ask("responses", "[[say=one]]").output
    references: Any = [{"type": "item_reference", "id": item.id} for item in output]
    found = seen(text(ask("responses", [user("before"), *references, user("[[seen]]")])))
    assert found["messages"] == 3, found


@feature("forced function")
def forced_function() -> None:
    choice: Any = {"type": "function", "function": {"name": "weather"}}
    message = ask("chat", "Hello.", tools=[CHAT_TOOL], tool_choice=choice).choices[0].message
    assert [call.function.name for call in message.tool_calls or ()] == ["weather"], message


@feature("custom tool")
def custom_tool() -> None:
    tool: Any = {"type": "custom", "name": "apply_patch", "description": "Edit files.", "format": {"type": "text"}}
    output = ask("responses", '[[tool=apply_patch:{"input": "*** Begin Patch"}]]', tools=[tool]).output
    calls = [(item.name, item.input) for item in output if item.type == "custom_tool_call"]
    assert calls == [("apply_patch", "*** Begin Patch")], output


@feature("web_search")
def web_search() -> None:
    tool: Any = {"type": "web_search"}
    found = seen(text(ask("responses", "[[seen]]", tools=[tool])))
    assert found["tools"] == ["web_search"], found


@feature("input_tokens and compact")
def input_tokens() -> None:
    assert client.responses.input_tokens.count(model=MODEL, input="hello " * 100).input_tokens > 50
    compacted = client.responses.compact(model=MODEL, input=[user("hello")])
    assert compacted.output, compacted


@feature("models")
def models() -> None:
    assert MODEL in [model.id for model in client.models.list()]


run()
