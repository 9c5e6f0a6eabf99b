"""Responses that go on from an earlier one, with the official client, where the operator and the key allow keeping."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.dialects.openai.conftest import options
from tests.support.gateway import GatewayProcess
from tests.support.processes import ROOT, clean_environment
from tests.support.stand_in import StandInProcess

MODEL = "claude-haiku-4-5"
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture(scope="module")
def keeping(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """The client of a key whose messages are kept."""
    env = {"CLAUDE_PROXY_STORE_SESSIONS": "1"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("keeping"), upstream=stand_in.base_url, env=env).start()
    try:
        made = subprocess.run(
            [sys.executable, "manage.py", "createapikey", "keeper", "--store-bodies", "--json"],
            cwd=ROOT,
            env=clean_environment(CLAUDE_PROXY_STATE_DIR=str(gateway.state_dir)),
            capture_output=True,
            check=True,
            timeout=60,
        )
        secret = json.loads(made.stdout)["secret"]
        with openai.OpenAI(**{**options(gateway), "api_key": secret}) as client:
            yield client
    finally:
        gateway.stop()


def test_a_response_goes_on_from_the_previous_one_and_two_may_follow_it(
    keeping: openai.OpenAI, stand_in: StandInProcess
) -> None:
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


def test_a_tool_loop_needs_to_send_the_results_alone(keeping: openai.OpenAI) -> None:
    asked: Any = {"model": MODEL, "tools": [WEATHER]}
    with keeping.responses.stream(input="[[tool=get_weather:{}]]", **asked) as stream:
        first = stream.get_final_response()
    call: Any = first.output[0]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "it is sunny"}
    second = keeping.responses.create(input=[result], previous_response_id=first.id, **asked)
    assert "it is sunny" in second.output_text


def test_what_is_not_to_be_stored_and_what_never_was_is_not_found(keeping: openai.OpenAI) -> None:
    unkept = keeping.responses.create(model=MODEL, input="[[say=x]]", store=False)
    for response_id in (unkept.id, "resp_unknown"):
        with pytest.raises(openai.BadRequestError) as caught:
            keeping.responses.create(model=MODEL, input="hi", previous_response_id=response_id)
        assert caught.value.param == "previous_response_id"
