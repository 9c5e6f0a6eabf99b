"""CrewAI with its native Anthropic and OpenAI providers."""

import os
from typing import Any

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false"}

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from features import GATEWAY, KEY, MODEL, caught, city_weather, feature, run, seen
from pydantic import BaseModel

BASES = {"anthropic": GATEWAY, "openai": f"{GATEWAY}/v1"}


class Person(BaseModel):
    name: str
    age: int


def model(provider: str, **options: Any) -> Any:
    return LLM(model=f"{provider}/{MODEL}", base_url=BASES[provider], api_key=KEY, **options)


@tool("weather")
def weather(city: str) -> str:
    """The weather of a city."""
    return city_weather(city)


def work(provider: str, description: str, **options: Any) -> Any:
    agent = Agent(
        role="Helper", goal="Help.", backstory="None.", llm=model(provider), tools=options.pop("tools", []), max_iter=5
    )
    task = Task(description=description, expected_output="words", agent=agent, **options)
    return Crew(agents=[agent], tasks=[task], verbose=False).kickoff()


@feature("plain", over=BASES)
def plain(provider: str) -> None:
    assert model(provider).call("[[say=Good day]]") == "Good day"


@feature("streaming", over=BASES)
def streaming(provider: str) -> None:
    assert model(provider, stream=True).call("[[n=5]]").strip() == "tok0 tok1 tok2 tok3 tok4"


@feature("tool loop", over=BASES)
def tool_loop(provider: str) -> None:
    found = seen(work(provider, '[[tool=weather:{"city": "Rome"}]] [[then]] [[seen]]', tools=[weather]).raw)
    assert found["results"] == 1, found


@feature("structured output", over=BASES)
def structured_output(provider: str) -> None:
    answer = work(provider, '[[say={"name": "Ada", "age": 36}]]', output_pydantic=Person)
    assert isinstance(answer.pydantic, Person), answer


@feature("errors", over=BASES)
def errors(provider: str) -> None:
    assert "not now" in str(caught(Exception, lambda: model(provider).call("[[status=400]] [[message=not now]]")))


run()
