"""Tokens and items of a response's input, with the official client."""

import secrets
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.dialects.openai.conftest import options
from tests.dialects.openai.support import PDF, PNG
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL = "claude-haiku-4-5"
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture(scope="module")
def keeping(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """The client of a key whose messages are kept."""
    env = {"CLAUDE_PROXY_STORE_SESSIONS": "1"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("keeping"), upstream=stand_in.base_url, env=env).start()
    (secret,) = make_keys(gateway, {"keeper": {"store_bodies": True}}).values()
    with openai.OpenAI(**options(gateway) | {"api_key": secret}) as client:
        yield client
    gateway.stop()


def test_count_as_the_upstream_counts_the_translation(
    gateway: GatewayProcess, client: openai.OpenAI, stand_in: StandInProcess
) -> None:
    mark = secrets.token_hex(8)
    asked: Any = {"model": MODEL, "instructions": "Be brief.", "tools": [WEATHER], "input": f"{mark} how many?"}
    counted = client.responses.input_tokens.count(**asked, reasoning={"effort": "low"}, parallel_tool_calls=False)
    (exchange,) = stand_in.recorded(containing=mark)
    assert exchange.path == "/v1/messages/count_tokens"
    assert not {"max_tokens", "stream", "metadata", "service_tier"} & exchange.body.keys()
    own = gateway.client().messages.count_tokens(
        model=MODEL,
        system=[{"type": "text", "text": "Be brief."}],
        messages=[{"role": "user", "content": f"{mark} how many?"}],
        tools=[{"name": "get_weather", "input_schema": {"type": "object"}}],
    )
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", own.input_tokens)


@pytest.mark.parametrize(
    ("body", "param"),
    [({"input": "hi"}, "model"), ({"model": MODEL, "input": 7}, "input"), ({"model": MODEL, "input": " "}, "input")],
)
def test_name_the_field_that_is_wrong(client: openai.OpenAI, body: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as failed:
        client.post("/responses/input_tokens", cast_to=object, body=body)
    assert failed.value.param == param


def test_count_input_after_a_stored_response(keeping: openai.OpenAI) -> None:
    first = keeping.responses.create(model=MODEL, input=f"{'many words ' * 50} [[say=noted]]")
    alone = keeping.responses.input_tokens.count(model=MODEL, input="and now?")
    after = keeping.responses.input_tokens.count(model=MODEL, input="and now?", previous_response_id=first.id)
    assert after.input_tokens > alone.input_tokens + 50


def test_list_input_items_page_by_page(keeping: openai.OpenAI) -> None:
    parts: Any = [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_image", "image_url": PNG, "detail": "auto"},
        {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
    ]
    given: Any = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "a picture"},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Rome"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        {"role": "user", "content": "thanks [[say=bye]]"},
    ]
    made = keeping.responses.create(model=MODEL, input=given, tools=[WEATHER])
    found: list[Any] = list(keeping.responses.input_items.list(made.id, order="asc", limit=2))
    assert [item.type for item in found] == [
        "message", "message", "function_call", "function_call_output", "message",
    ]  # fmt: skip
    assert [part.type for part in found[0].content] == ["input_text", "input_image", "input_file"]
    assert found[0].content[1].image_url == PNG
    assert found[0].content[2].file_data == PDF
    assert (found[1].role, found[1].content[0].text) == ("assistant", "a picture")
    assert (found[2].call_id, found[2].arguments) == ("call_1", '{"city":"Rome"}')
    assert found[3].output == "sunny"
    newest = keeping.responses.input_items.list(made.id)
    assert [item.id for item in newest] == [item.id for item in reversed(found)]


def test_list_custom_and_namespace_calls_as_sent(keeping: openai.OpenAI) -> None:
    patch: Any = {"type": "custom", "name": "patch", "format": {"type": "text"}}
    calc: Any = {"type": "namespace", "name": "calc", "description": "Sums.", "tools": [WEATHER]}
    given: Any = [
        {"role": "user", "content": "go on"},
        {"type": "custom_tool_call", "call_id": "call_1", "name": "patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"},
        {"type": "function_call", "call_id": "call_2", "namespace": "calc", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_2", "output": "sunny"},
        {"role": "user", "content": "thanks [[say=bye]]"},
    ]
    made = keeping.responses.create(model=MODEL, input=given, tools=[patch, calc])
    found: list[Any] = list(keeping.responses.input_items.list(made.id, order="asc"))
    assert [item.type for item in found] == ["message", *(item["type"] for item in given[1:5]), "message"]
    assert (found[1].name, found[1].input, found[1].id[:4]) == ("patch", "*** Begin", "ctc_")
    assert (found[3].namespace, found[3].name, found[3].arguments) == ("calc", "get_weather", "{}")
    assert (found[2].output, found[4].output) == ("done", "sunny")


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "msg_none"}])
def test_refuse_a_page_that_does_not_exist(keeping: openai.OpenAI, query: Any) -> None:
    made = keeping.responses.create(model=MODEL, input="hi [[say=ho]]")
    with pytest.raises(openai.BadRequestError) as failed:
        keeping.responses.input_items.list(made.id, **query)
    assert failed.value.param == next(iter(query))


def test_refuse_what_needs_a_response_that_is_not_stored(client: openai.OpenAI, keeping: openai.OpenAI) -> None:
    for which in (client, keeping):
        with pytest.raises(openai.NotFoundError) as missing:
            which.responses.input_items.list("resp_none")
        assert missing.value.code == "not_found"
        with pytest.raises(openai.NotFoundError):
            which.responses.cancel("resp_none")
    made = keeping.responses.create(model=MODEL, input="hi [[say=ho]]")
    with pytest.raises(openai.BadRequestError) as over:
        keeping.responses.cancel(made.id)
    assert "background" in over.value.message
