"""langchain-anthropic, langchain-openai with Chat Completions and with Responses, and langgraph with each of them."""

import asyncio
import os
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
    caught,
    city_weather,
    feature,
    left,
    mark,
    run,
    seen,
)
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel

os.environ["LANGSMITH_TRACING"] = "false"
LOOP = 20


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return city_weather(city)


def anthropic_messages(**options: Any) -> Any:
    return ChatAnthropic(model=MODEL, base_url=GATEWAY, api_key=KEY, **options)


def openai_chat(**options: Any) -> Any:
    return ChatOpenAI(model=MODEL, base_url=f"{GATEWAY}/v1", api_key=KEY, **options)


def openai_responses(**options: Any) -> Any:
    return openai_chat(use_responses_api=True, **options)


ALL = [anthropic_messages, openai_chat, openai_responses]


@feature("plain", over=ALL)
def plain(model: Any) -> None:
    answer = model().invoke("[[say=Good day]] [[in=12]] [[out=3]]")
    assert answer.text == "Good day", answer
    assert answer.usage_metadata["input_tokens"] == 12, answer


@feature("streaming", over=ALL)
def streaming(model: Any) -> None:
    assert "".join(chunk.text for chunk in model().stream("[[n=5]]")) == "tok0 tok1 tok2 tok3 tok4 "


@feature("tool loop", over=ALL)
def tool_loop(model: Any) -> None:
    bound = model().bind_tools([weather])
    messages: list[Any] = [HumanMessage(TWO_TOOLS)]
    answer = bound.invoke(messages)
    assert [call["args"]["city"] for call in answer.tool_calls] == ["Rome", "Oslo"], answer
    messages += [answer, *(weather.invoke(call) for call in answer.tool_calls)]
    found = seen(bound.invoke(messages).text)
    assert (found["messages"], found["results"]) == (3, 2), found


@feature("structured output", over=ALL)
def structured_output(model: Any) -> None:
    parsed = model().with_structured_output(Person, method="json_schema").invoke(PERSON)
    assert parsed == Person(name="Ada", age=36), parsed
    # langchain-anthropic knows the models that reject forced tools, and leaves the call to them.
    prompt = '[[tool=Person:{"name": "Ada", "age": 36}]]' if model is anthropic_messages else "Ada is 36."
    by_function = model().with_structured_output(Person, method="function_calling").invoke(prompt)
    assert isinstance(by_function, Person), by_function


@feature("image and PDF", over=ALL)
def image_and_pdf(model: Any) -> None:
    content: Any = [
        {"type": "text", "text": "[[seen]]"},
        {"type": "image", "base64": RED_PIXEL, "mime_type": "image/png"},
        {"type": "file", "base64": EMPTY_PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
    ]
    found = seen(model().invoke([HumanMessage(content)]).text)
    assert (found["images"], found["documents"]) == (1, 1), found


@feature("errors", over=ALL)
def errors(model: Any) -> None:
    for status in (429, 529):
        error = caught(Exception, lambda status=status: model(max_retries=0).invoke(f"[[status={status}]]"))
        assert getattr(error, "status_code", None) in {status, 503}, error
    stream = model(max_retries=0).stream("[[n=9]] [[gap=0.01]] [[miderror=3]] [[message=Overloaded]]")
    assert "Overloaded" in str(caught(Exception, lambda: list(stream)))


@feature("cancel")
async def cancel() -> None:
    for model in ALL:  # in one event loop: langchain-openai's models share an HTTP client
        await cancel_of(model)


async def cancel_of(model: Any) -> None:
    word = mark()

    async def begin() -> None:
        async for _ in model().astream(f"{word} {ENDLESS}"):
            return

    await begin()
    await asyncio.to_thread(left, word)
    assert (await model().ainvoke("[[say=next]]")).text == "next"


@feature("second user turn", over=ALL)
def second_user_turn(model: Any) -> None:
    first = model().invoke("[[say=one]]")
    assert isinstance(first, AIMessage)
    found = seen(model().invoke([HumanMessage("before"), first, HumanMessage("[[seen]]")]).text)
    assert found["messages"] == 3, found


@feature("thinking in a tool loop", over=ALL)
def thinking(model: Any) -> None:
    options: dict[str, Any] = {"thinking": {"type": "adaptive"}}
    if model is openai_chat:
        options = {"reasoning_effort": "medium"}
    elif model is openai_responses:
        options = {"reasoning": {"effort": "medium"}, "include": ["reasoning.encrypted_content"], "store": False}
    bound = model(**options).bind_tools([weather])
    messages: list[Any] = [HumanMessage(f"[[think=hm]] {TWO_TOOLS}")]
    answer = bound.invoke(messages)
    messages += [answer, *(weather.invoke(call) for call in answer.tool_calls)]
    found = seen(bound.invoke(messages).text)
    assert found["thinking"] == 1, found


@feature("langgraph agent, 20 steps", over=ALL)
def langgraph_agent(model: Any) -> None:
    bound = model().bind_tools([weather])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "model")
    steps = " [[then]] ".join(f'[[tool=weather:{{"city": "c{number}"}}]]' for number in range(LOOP))
    messages = [HumanMessage(f"{steps} [[then]] [[seen]]")]
    done = graph.compile().invoke({"messages": messages}, {"recursion_limit": 3 * LOOP})
    assert seen(done["messages"][-1].text)["results"] == LOOP


run()
