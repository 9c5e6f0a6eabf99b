"""Scenarios of the embedded stand-in, read by the official client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, ToolUseBlock

from apiproxy.standin import ChooseScript, Script, scenarios, start
from apiproxy.standin.blocks import text_block

MODEL = "claude-sonnet-5"
TOOLS: Any = [{"name": name, "input_schema": {"type": "object"}} for name in ("search", "read_file")]


@asynccontextmanager
async def client_of(choose_script: ChooseScript) -> AsyncIterator[anthropic.AsyncAnthropic]:
    server = await start(choose_script)
    async with anthropic.AsyncAnthropic(api_key="sk", base_url=server.base_url, max_retries=0) as client:
        yield client
    await server.close()


async def ask(client: anthropic.AsyncAnthropic, messages: list[Any], **options: Any) -> Message:
    message: Message = await client.messages.create(model=MODEL, max_tokens=1000, messages=messages, **options)
    return message


async def test_tool_steps_calls_each_tool_once_and_then_answers() -> None:
    messages: list[Any] = [{"role": "user", "content": "Find out"}]
    called: list[str] = []
    async with client_of(scenarios.tool_steps) as client:
        for _ in TOOLS:
            message = await ask(client, messages, tools=TOOLS)
            assert message.stop_reason == "tool_use"
            (tool,) = [block for block in message.content if isinstance(block, ToolUseBlock)]
            called.append(tool.name)
            result = {"type": "tool_result", "tool_use_id": tool.id, "content": f"{tool.name} is done"}
            messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
        last = await ask(client, messages, tools=TOOLS)
        messages += [{"role": "assistant", "content": last.content}, {"role": "user", "content": "Once more"}]
        again = await ask(client, messages, tools=TOOLS)

    assert called == ["search", "read_file"]
    assert [block.type for block in last.content] == ["text"]
    assert "read_file is done" in last.to_json()
    assert again.stop_reason == "tool_use"


async def test_text_calls_no_tool_that_the_message_names() -> None:
    async with client_of(scenarios.text) as client:
        message = await ask(client, [{"role": "user", "content": "Please search"}], tools=TOOLS)

    assert [block.type for block in message.content] == ["text"]


async def test_stall_sends_a_few_deltas_and_keeps_the_connection_open() -> None:
    server = await start(scenarios.stall)
    body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]}
    got = bytearray()

    async def read_stream(http: httpx.AsyncClient) -> None:
        async with http.stream("POST", "/v1/messages", json={**body, "stream": True}) as response:
            async for chunk in response.aiter_raw():
                got.extend(chunk)

    async with httpx.AsyncClient(base_url=server.base_url, timeout=0.3) as http:
        with pytest.raises(httpx.ReadTimeout):
            await read_stream(http)
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/messages", json=body)
    await server.close()

    assert got.count(b"text_delta") == 3


async def test_rate_limited_is_a_429_with_retry_after() -> None:
    async with client_of(scenarios.rate_limited) as client:
        with pytest.raises(anthropic.RateLimitError) as caught:
            await ask(client, [{"role": "user", "content": "x"}])

    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "This request would exceed the demo's rate limit."},
        "request_id": caught.value.request_id,
    }


async def test_play_callers_script() -> None:
    async with client_of(lambda body: Script(blocks=[text_block([body["messages"][0]["content"]])])) as client:
        message = await ask(client, [{"role": "user", "content": "exactly this"}])

    assert message.to_dict()["content"] == [{"type": "text", "text": "exactly this"}]
