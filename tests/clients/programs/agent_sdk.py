"""claude-agent-sdk: query, client, a tool of the process, interrupt, output_format."""

import asyncio
import contextlib
import os
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ResultMessage,
    create_sdk_mcp_server,
    query,
    tool,
)
from claude_agent_sdk.types import StreamEvent
from features import ENDLESS, GATEWAY, KEY, MODEL, WORK, city_weather, feature, left, mark, run, seen

LOOP = 20
NAME = "mcp__local__weather"


@tool("weather", "The weather of a city.", {"city": str})
async def weather(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": city_weather(arguments["city"])}]}


def options(**more: Any) -> ClaudeAgentOptions:
    env = {"ANTHROPIC_BASE_URL": GATEWAY, "ANTHROPIC_API_KEY": KEY, "HOME": os.environ["HOME"], "IS_SANDBOX": "1"}
    server = create_sdk_mcp_server("local", tools=[weather])
    given: dict[str, Any] = {"mcp_servers": {"local": server}, "allowed_tools": [NAME], **more}
    return ClaudeAgentOptions(model=MODEL, env=env, cwd=WORK, **given)


async def ask(prompt: str, **more: Any) -> ResultMessage:
    result = [it async for it in query(prompt=prompt, options=options(**more)) if isinstance(it, ResultMessage)]
    return result[-1]


@feature("plain")
async def plain() -> None:
    assert (await ask("[[say=Good day]]")).result == "Good day"


@feature("streaming")
async def streaming() -> None:
    messages = [it async for it in query(prompt="[[n=5]]", options=options(include_partial_messages=True))]
    events = [it.event for it in messages if isinstance(it, StreamEvent)]
    deltas = [event["delta"].get("text") for event in events if event["type"] == "content_block_delta"]
    assert deltas == [f"tok{number} " for number in range(5)], deltas


@feature("tool loop")
async def tool_loop() -> None:
    calls = " ".join(f'[[tool={NAME}:{{"city": "{city}"}}]]' for city in ("Rome", "Oslo"))
    found = seen(str((await ask(f"{calls} [[then]] [[seen]]")).result))
    assert found["results"] == 2, found


@feature("20 steps")
async def twenty_steps() -> None:
    steps = " [[then]] ".join(f'[[tool={NAME}:{{"city": "c{number}"}}]]' for number in range(LOOP))
    assert seen(str((await ask(f"{steps} [[then]] [[seen]]")).result))["results"] == LOOP


@feature("structured output")
async def structured_output() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    script = '[[tool=StructuredOutput:{"name": "Ada", "age": 36}]] [[then]] [[say=done]]'
    result = await ask(script, output_format={"type": "json_schema", "schema": schema})
    assert result.structured_output == {"name": "Ada", "age": 36}, result


@feature("errors")
async def errors() -> None:
    messages: list[Any] = []

    async def read() -> None:
        async for message in query(prompt="[[status=400]] [[message=not now]]", options=options()):
            messages.append(message)  # noqa: PERF401 — those before an error count

    with contextlib.suppress(Exception):  # raised after the result, with no more to say
        await read()
    assert "not now" in str(messages), messages


@feature("cancel")
async def cancel() -> None:
    word = mark()
    async with ClaudeSDKClient(options(include_partial_messages=True)) as client:
        await client.query(f"{word} {ENDLESS}")
        async for message in client.receive_response():
            if isinstance(message, StreamEvent) and message.event["type"] == "content_block_delta":
                await client.interrupt()
                break
        async for message in client.receive_response():
            if isinstance(message, ResultMessage):
                break
        await asyncio.to_thread(left, word, aside="<session>")
        await client.query("[[say=next]]")
        told = [it async for it in client.receive_response() if isinstance(it, ResultMessage | AssistantMessage)]
    assert "next" in str(told), told


@feature("second user turn")
async def second_user_turn() -> None:
    async with ClaudeSDKClient(options()) as client:
        found: list[Any] = []
        for prompt in ("[[say=one]]", "[[seen]]"):
            await client.query(prompt)
            found = [it async for it in client.receive_response() if isinstance(it, ResultMessage)]
    assert seen(str(found[-1].result))["messages"] >= 3, found


run()
