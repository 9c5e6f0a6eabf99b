"""The OpenAI Agents SDK, with Responses (its default) and Chat Completions."""

import asyncio
import json
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    WebSearchTool,
    function_tool,
    set_tracing_disabled,
)
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
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

set_tracing_disabled(True)
LOOP = 20
KINDS = [OpenAIResponsesModel, OpenAIChatCompletionsModel]


class Person(BaseModel):
    name: str
    age: int


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return city_weather(city)


def agent(kind: Any, *, retries: int = 2, **options: Any) -> Any:
    client = AsyncOpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY, max_retries=retries)
    return Agent(name="Helper", instructions="Help.", model=kind(model=MODEL, openai_client=client), **options)


@feature("plain", over=KINDS)
async def plain(kind: Any) -> None:
    assert (await Runner.run(agent(kind), "[[say=Good day]]")).final_output == "Good day"


@feature("streaming", over=KINDS)
async def streaming(kind: Any) -> None:
    result = Runner.run_streamed(agent(kind), "[[n=5]]")
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert deltas == [f"tok{number} " for number in range(5)], deltas


@feature("tool loop", over=KINDS)
async def tool_loop(kind: Any) -> None:
    found = seen((await Runner.run(agent(kind, tools=[weather]), TWO_TOOLS)).final_output)
    assert (found["messages"], found["results"]) == (3, 2), found


@feature("20 steps", over=KINDS)
async def twenty_steps(kind: Any) -> None:
    steps = " [[then]] ".join(f'[[tool=weather:{{"city": "c{number}"}}]]' for number in range(LOOP))
    result = await Runner.run(agent(kind, tools=[weather]), f"{steps} [[then]] [[seen]]", max_turns=LOOP + 2)
    assert seen(result.final_output)["results"] == LOOP


@feature("structured output", over=KINDS)
async def structured_output(kind: Any) -> None:
    output = (await Runner.run(agent(kind, output_type=Person), PERSON)).final_output
    assert output == Person(name="Ada", age=36), output


@feature("image and PDF")
async def image_and_pdf() -> None:
    content = [
        {"type": "input_text", "text": "[[seen]]"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{RED_PIXEL}", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{EMPTY_PDF}"},
    ]
    found = seen((await Runner.run(agent(KINDS[0]), [{"role": "user", "content": content}])).final_output)
    assert (found["images"], found["documents"]) == (1, 1), found


@feature("errors", over=KINDS)
async def errors(kind: Any) -> None:
    for status in (429, 529):
        error: Any = await caught_in(Exception, Runner.run(agent(kind, retries=0), f"[[status={status}]]"))
        assert error.status_code in {status, 503}, error
    result = Runner.run_streamed(agent(kind, retries=0), "[[n=9]] [[gap=0.01]] [[miderror=3]] [[message=Overloaded]]")

    async def read() -> None:
        async for _ in result.stream_events():
            pass

    assert "verloaded" in str(await caught_in(Exception, read()))


@feature("cancel", over=KINDS)
async def cancel(kind: Any) -> None:
    word = mark()
    result = Runner.run_streamed(agent(kind), f"{word} {ENDLESS}")
    async for event in result.stream_events():
        if event.type == "raw_response_event":
            result.cancel()
            break
    await asyncio.to_thread(left, word)
    assert (await Runner.run(agent(kind), "[[say=next]]")).final_output == "next"


@feature("second user turn", over=KINDS)
async def second_user_turn(kind: Any) -> None:
    session = SQLiteSession(mark())
    await Runner.run(agent(kind), "[[say=one]]", session=session)
    found = seen((await Runner.run(agent(kind), "[[seen]]", session=session)).final_output)
    assert found["messages"] == 3, found


@feature("thinking in a tool loop", over=KINDS)
async def thinking(kind: Any) -> None:
    settings = ModelSettings(reasoning=Reasoning(effort="medium"))
    if kind is KINDS[0]:
        settings = settings.resolve(ModelSettings(response_include=["reasoning.encrypted_content"], store=False))
    result = await Runner.run(agent(kind, tools=[weather], model_settings=settings), f"[[think=hm]] {TWO_TOOLS}")
    assert seen(result.final_output)["thinking"] == 1, result.final_output


@feature("handoff", over=KINDS)
async def handoff(kind: Any) -> None:
    other = agent(kind)
    other.name = "Other"
    first = agent(kind, handoffs=[other])
    result = await Runner.run(first, "[[tool=transfer_to_other:{}]] [[then]] [[say=taken over]]")
    assert (result.last_agent.name, result.final_output) == ("Other", "taken over"), result


@feature("WebSearchTool")
async def web_search() -> None:
    found = seen((await Runner.run(agent(KINDS[0], tools=[WebSearchTool()]), "[[seen]]")).final_output)
    assert found["tools"] == ["web_search"], found


@feature("conversation by previous_response_id")
async def previous_response() -> None:
    first = await Runner.run(agent(KINDS[0]), "[[say=one]]")
    result = await Runner.run(agent(KINDS[0]), "[[seen]]", previous_response_id=first.last_response_id)
    assert seen(result.final_output)["messages"] == 3, json.dumps(result.final_output)


run()
