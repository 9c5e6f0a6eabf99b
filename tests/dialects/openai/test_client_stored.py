"""Responses that go on from an earlier one, with the official client, where the operator and the key allow keeping."""

import contextlib
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.dialects.openai.conftest import options
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL = "claude-haiku-4-5"
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture(scope="module")
def clients(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[openai.OpenAI]]:
    """The clients of two keys whose messages are kept."""
    env = {"CLAUDE_PROXY_STORE_SESSIONS": "1"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("keeping"), upstream=stand_in.base_url, env=env).start()
    made = make_keys(gateway, {name: {"store_bodies": True} for name in ("keeper", "other")})
    with contextlib.ExitStack() as stack:
        stack.callback(gateway.stop)
        yield [stack.enter_context(openai.OpenAI(**options(gateway) | {"api_key": it})) for it in made.values()]


@pytest.fixture
def keeping(clients: list[openai.OpenAI]) -> openai.OpenAI:
    return clients[0]


@pytest.fixture
def other(clients: list[openai.OpenAI]) -> openai.OpenAI:
    return clients[1]


def test_continue_response_from_previous_one_with_forks(keeping: openai.OpenAI, stand_in: StandInProcess) -> None:
    first = keeping.responses.create(model=MODEL, input="keep-me [[say=noted]]")
    second = keeping.responses.create(model=MODEL, input="second [[say=two]]", previous_response_id=first.id)
    third = keeping.responses.create(model=MODEL, input="third [[say=three]]", previous_response_id=first.id)
    assert second.output_text == "two"
    assert second.previous_response_id == third.previous_response_id == first.id
    sent = [exchange.body["messages"] for exchange in stand_in.recorded(containing="keep-me")][1:]
    said = [[message["content"] for message in messages] for messages in sent]
    assert said == [
        ["keep-me [[say=noted]]", "noted", "second [[say=two]]"],
        ["keep-me [[say=noted]]", "noted", "third [[say=three]]"],
    ]


def test_continue_tool_loop_with_results_alone(keeping: openai.OpenAI) -> None:
    asked: Any = {"model": MODEL, "tools": [WEATHER]}
    with keeping.responses.stream(input="[[tool=get_weather:{}]]", **asked) as stream:
        first = stream.get_final_response()
    call: Any = first.output[0]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "it is sunny"}
    second = keeping.responses.create(input=[result], previous_response_id=first.id, **asked)
    assert "it is sunny" in second.output_text


def test_continue_with_the_result_of_a_forced_call(keeping: openai.OpenAI) -> None:
    asked: Any = {
        "model": "claude-sonnet-5-5",
        "tools": [WEATHER | {"parameters": {"type": "object", "properties": {}}}],
    }
    choice: Any = {"type": "function", "name": "get_weather"}
    first = keeping.responses.create(input="[[say={}]]", tool_choice=choice, **asked)
    call: Any = first.output[0]
    assert call.type == "function_call"
    assert keeping.responses.retrieve(first.id).output == first.output
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "it is sunny"}
    second = keeping.responses.create(input=[result], previous_response_id=first.id, **asked)
    assert "it is sunny" in second.output_text


def test_retrieve_calls_of_other_kinds_as_they_were(keeping: openai.OpenAI) -> None:
    inner: Any = {"type": "custom", "name": "edit"}
    tools: Any = [{"type": "namespace", "name": "files", "description": "d", "tools": [inner]}, {"type": "shell"}]
    calls = '[[tool=files__edit:{"input": "x"}]][[tool=shell:{"commands": ["ls"]}]]'
    made = keeping.responses.create(model=MODEL, tools=tools, input=calls)
    assert [item.type for item in made.output] == ["custom_tool_call", "shell_call"]
    assert as_sent(keeping.responses.retrieve(made.id)) == as_sent(made)
    ran: Any = [
        {"type": "custom_tool_call_output", "call_id": getattr(made.output[0], "call_id", ""), "output": "edited"},
        {"type": "shell_call_output", "call_id": getattr(made.output[1], "call_id", ""), "output": []},
    ]
    last = keeping.responses.create(model=MODEL, tools=tools, input=ran, previous_response_id=made.id)
    assert "edited" in last.output_text


def as_sent(value: Any) -> Any:
    """A Responses object as JSON, without what the client's streams add to it."""
    value = value.model_dump(mode="json", warnings=False) if hasattr(value, "model_dump") else value
    if isinstance(value, dict):
        return {name: as_sent(item) for name, item in value.items() if not name.startswith("parsed")}
    return [as_sent(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("streamed", [False, True])
def test_retrieve_and_delete_stored_response(keeping: openai.OpenAI, streamed: bool) -> None:
    asked: Any = {"model": MODEL, "tools": [WEATHER], "instructions": "Be brief.", "metadata": {"ticket": "7"}}
    asked["input"] = "[[think=let me see]] [[say=it is 5]] [[tool=get_weather:{}]] [[in=7]] [[out=9]]"
    if streamed:
        with keeping.responses.stream(**asked, reasoning={"summary": "auto"}) as stream:
            made = stream.get_final_response()
    else:
        made = keeping.responses.create(**asked, reasoning={"summary": "auto"})
    assert [item.type for item in made.output] == ["reasoning", "message", "function_call"]
    fetched = keeping.responses.retrieve(made.id)
    assert as_sent(fetched) == as_sent(made)
    assert fetched.metadata == {"ticket": "7"}
    keeping.responses.delete(made.id)
    for gone in (keeping.responses.retrieve, keeping.responses.delete):
        with pytest.raises(openai.NotFoundError, match="not found"):
            gone(made.id)


def test_hide_response_from_other_keys_and_conversations(keeping: openai.OpenAI, other: openai.OpenAI) -> None:
    made = keeping.responses.create(model=MODEL, input="[[say=mine]]")
    keeping.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], extra_headers={"x-conversation-id": "no-response"}
    )
    for client, response_id in ((other, made.id), (keeping, "no-response")):
        for act in (client.responses.retrieve, client.responses.delete):
            with pytest.raises(openai.NotFoundError):
                act(response_id)
    assert keeping.responses.retrieve(made.id).output_text == "mine"


def test_answer_404_for_unstored_and_unknown(keeping: openai.OpenAI) -> None:
    unkept = keeping.responses.create(model=MODEL, input="[[say=x]]", store=False)
    for response_id in (unkept.id, "resp_unknown"):
        with pytest.raises(openai.BadRequestError) as caught:
            keeping.responses.create(model=MODEL, input="hi", previous_response_id=response_id)
        assert caught.value.param == "previous_response_id"
