"""Answers given by directives, read by the official client."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from apiproxy.standin.errors import ERROR_TYPES
from tests.support.official import MODEL, ask, text_of
from tests.upstream import start


@pytest.fixture
async def client() -> AsyncIterator[anthropic.AsyncAnthropic]:
    server = await start()
    async with anthropic.AsyncAnthropic(api_key="sk", base_url=server.base_url, max_retries=0) as client:
        yield client
    await server.close()


@pytest.mark.parametrize(
    "prompt",
    [
        "Hello",
        "[[n=7]]",
        '[[say=Grüße, 🌍]] [[think=hm hm]] [[tool=look:{"at": ["ä", 1]}]]',
        "[[redacted=abc]] [[cite=the grass]] [[say=It is green.]]",
        '[[block={"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}]]',
        "[[stop=refusal]] [[n=1]]",
    ],
)
async def test_stream_same_message_as_whole_answer(client: anthropic.AsyncAnthropic, prompt: str) -> None:
    whole = await ask(client, prompt)
    async with client.messages.stream(
        model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": prompt}]
    ) as stream:
        streamed = await stream.get_final_message()

    def comparable(message: Message) -> Any:
        content = [{**block.to_dict(), "id": None} for block in message.content]
        return content, message.stop_reason, message.stop_sequence, message.usage.to_dict()

    assert comparable(streamed) == comparable(whole)


async def test_end_text_before_stop_sequence(client: anthropic.AsyncAnthropic) -> None:
    message = await ask(client, "[[say=one two three two]]", stop_sequences=["three", "two"])

    assert (message.stop_reason, message.stop_sequence, text_of(message)) == ("stop_sequence", "two", "one ")


async def test_usage_can_be_dictated(client: anthropic.AsyncAnthropic) -> None:
    usage = (await ask(client, "[[in=11]] [[out=22]] [[read=33]] [[write=44]]")).usage

    counts = (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    assert counts == (11, 22, 33, 44)


async def test_exact_usage_stands_in_both_events(client: anthropic.AsyncAnthropic) -> None:
    usage = {"input_tokens": -5, "output_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 3}, "later": "x"}
    body: Any = {"model": MODEL, "max_tokens": 9, "stream": True}
    stream = await client.messages.create(
        **body, messages=[{"role": "user", "content": f"[[usage={json.dumps(usage)}]]"}]
    )
    seen = [event.to_dict() async for event in stream]

    assert [event["message"]["usage"] for event in seen if event["type"] == "message_start"] == [usage]
    assert [event["usage"] for event in seen if event["type"] == "message_delta"] == [usage]


@pytest.mark.parametrize("status", ERROR_TYPES)
async def test_raise_clients_class_for_error(client: anthropic.AsyncAnthropic, status: int) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await ask(client, f"[[status={status}]] [[message=no luck]] [[retry_after=7]]")

    assert caught.value.status_code == status
    assert caught.value.body == {
        "type": "error",
        "error": {"type": ERROR_TYPES[status], "message": "no luck"},
        "request_id": caught.value.request_id,
    }
    assert caught.value.response.headers["retry-after"] == "7"


async def test_answer_400_to_invalid_directive(client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="directive n: "):
        await ask(client, "[[n=x]]")
