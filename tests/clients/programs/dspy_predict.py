"""DSPy, whose models are LiteLLM's, with both of its providers."""

from typing import Any

import dspy
from features import GATEWAY, KEY, MODEL, caught, city_weather, feature, run

BASES = {"anthropic/": GATEWAY, "openai/": f"{GATEWAY}/v1"}


def model(provider: str) -> Any:
    return dspy.LM(provider + MODEL, api_base=BASES[provider], api_key=KEY, cache=False, num_retries=0)


class Person(dspy.Signature):  # type: ignore[misc]
    """Who is it?"""

    question: str = dspy.InputField()
    name: str = dspy.OutputField()
    age: int = dspy.OutputField()


def weather(city: str) -> str:
    """The weather of a city."""
    return city_weather(city)


@feature("plain", over=BASES)
def plain(provider: str) -> None:
    assert model(provider)("[[say=Good day]]") == ["Good day"]


@feature("structured output", over=BASES)
def structured_output(provider: str) -> None:
    with dspy.context(lm=model(provider), adapter=dspy.JSONAdapter()):
        found = dspy.Predict(Person)(question='[[say={"name": "Ada", "age": 36}]]')
    assert (found.name, found.age) == ("Ada", 36), found


@feature("tool loop", over=BASES)
def tool_loop(provider: str) -> None:
    # One answer with the fields of the step and of the end, each of which reads its own.
    step = '"next_thought": "look", "next_tool_name": "weather", "next_tool_args": {"city": "Rome"}'
    end = '"reasoning": "looked", "answer": "sunny"'
    with dspy.context(lm=model(provider), adapter=dspy.JSONAdapter()):
        program = dspy.ReAct("question -> answer", tools=[weather], max_iters=1)
        found = program(question=f"[[say={{{step}, {end}}}]]")
    assert found.trajectory["observation_0"] == city_weather("Rome"), found
    assert found.answer == "sunny", found


@feature("errors", over=BASES)
def errors(provider: str) -> None:
    assert "not now" in str(caught(Exception, lambda: model(provider)("[[status=529]] [[message=not now]]")))


run()
