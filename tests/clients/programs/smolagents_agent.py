"""smolagents: tool-calling agent with its OpenAI and LiteLLM models."""

from typing import Any

from features import GATEWAY, KEY, MODEL, caught, city_weather, feature, run, seen
from smolagents import LiteLLMModel, OpenAIModel, ToolCallingAgent, tool


def openai_model(**options: Any) -> Any:
    return OpenAIModel(model_id=MODEL, api_base=f"{GATEWAY}/v1", api_key=KEY, **options)


def litellm_model(**options: Any) -> Any:
    """drop_params: agents force a tool, which LiteLLM refuses for the newest models."""
    options = {"drop_params": True, **options}
    return LiteLLMModel(model_id=f"anthropic/{MODEL}", api_base=GATEWAY, api_key=KEY, **options)


ALL = [openai_model, litellm_model]


@tool
def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: which
    """
    return city_weather(city)


def say(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": text}]}]


@feature("plain", over=ALL)
def plain(model: Any) -> None:
    assert model()(say("[[say=Good day]]")).content == "Good day"


@feature("streaming", over=ALL)
def streaming(model: Any) -> None:
    pieces = [delta.content or "" for delta in model().generate_stream(say("[[n=5]]"))]
    assert "".join(pieces) == "tok0 tok1 tok2 tok3 tok4 ", pieces


@feature("tool loop", over=ALL)
def tool_loop(model: Any) -> None:
    steps = (
        '[[tool=weather:{"city": "Rome"}]] [[tool=weather:{"city": "Oslo"}]]',
        '[[tool=final_answer:{"answer": "x"}]]',
    )
    agent = ToolCallingAgent(tools=[weather], model=model(), verbosity_level=0, max_steps=4)
    assert agent.run(" [[then]] ".join(steps)) == "x"
    observed = str(agent.memory.get_full_steps())
    assert city_weather("Rome") in observed, observed
    assert city_weather("Oslo") in observed, observed


@feature("structured output", over=ALL)
def structured_output(model: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    found = seen(model().generate(say("[[seen]]"), response_format=form).content)
    assert found["format"] == "json_schema", found


@feature("errors", over=ALL)
def errors(model: Any) -> None:
    assert "not now" in str(caught(Exception, lambda: model()(say("[[status=400]] [[message=not now]]"))))


run()
