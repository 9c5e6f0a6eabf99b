"""Chat Completions with the official client, over a real port, through the real CLI."""

import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import pydantic_function_tool
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.dialects.openai.conftest import options
from tests.dialects.openai.support import PNG
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

MODEL = "claude-haiku-4-5"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def mark() -> str:
    """A text that finds this test's exchanges at the stand-in."""
    return f"mark-{secrets.token_hex(8)}"


def test_return_plain_answer(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model=MODEL, messages=ask("[[say=Hello there]][[in=12]][[out=3]]"))
    assert completion.id.startswith("chatcmpl-")
    assert completion.choices[0].message.content == "Hello there"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (12, 3)


def test_stream_answer_with_token_counts(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model=MODEL, messages=ask("[[n=20]][[read=5]]"), stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.split() == [f"tok{number}" for number in range(20)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens_details is not None
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 5


async def test_answer_async_client_streamed_and_plain(async_client: openai.AsyncOpenAI) -> None:
    whole = await async_client.chat.completions.create(model=MODEL, messages=ask("[[say=whole]]"))
    stream = await async_client.chat.completions.create(model=MODEL, messages=ask("[[say=in pieces]]"), stream=True)
    async with stream:
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert whole.choices[0].message.content == "whole"
    assert "".join(pieces) == "in pieces"


def test_end_stream_helper_with_plain_completion(client: openai.OpenAI) -> None:
    messages = ask('[[say=I look.]][[tool=get_weather:{"city":"Rome"}]]')
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=[WEATHER]) as stream:
        kinds = {event.type for event in stream}
        streamed = stream.get_final_completion().choices[0]
    plain = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert {"chunk", "content.done", "tool_calls.function.arguments.done"} <= kinds
    assert streamed.finish_reason == plain.finish_reason == "tool_calls"
    assert streamed.message.content == plain.message.content == "I look."
    assert streamed.message.tool_calls is not None
    assert plain.message.tool_calls is not None
    assert json.loads(streamed.message.tool_calls[0].function.arguments) == {"city": "Rome"}
    assert json.loads(plain.message.tool_calls[0].to_dict()["function"]["arguments"]) == {"city": "Rome"}  # type: ignore[index]  # a dict of dicts


class Sum(BaseModel):
    a: int
    terms: list[str]


@pytest.mark.parametrize("model", [MODEL, "claude-opus-4-6"])
def test_give_parse_helper_instance_of_its_model(client: openai.OpenAI, model: str, mark: str) -> None:
    said = json.dumps({"a": 3, "terms": ["1", "2"]})
    completion = client.chat.completions.parse(model=model, messages=ask(f"{mark}[[say={said}]]"), response_format=Sum)
    assert completion.choices[0].message.parsed == Sum(a=3, terms=["1", "2"])


def test_send_schema_as_output_format(client: openai.OpenAI, stand_in: StandInProcess, mark: str) -> None:
    with client.chat.completions.stream(model=MODEL, messages=ask(mark), response_format=Sum) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Sum)
    assert stand_in.only(mark).body["output_config"]["format"]["schema"]["required"] == ["a", "terms"]


@pytest.mark.parametrize("stream", [False, True])
def test_carry_any_json_object_in_hidden_tool(client: openai.OpenAI, stream: bool) -> None:
    asked: Any = {
        "model": MODEL,
        "messages": ask('[[tool=json_answer:{"a":[1,null]}]]'),
        "response_format": {"type": "json_object"},
    }
    if stream:
        with client.chat.completions.stream(**asked) as events:
            choice: Any = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(**asked).choices[0]
    assert json.loads(choice.message.content) == {"a": [1, None]}
    assert not choice.message.tool_calls
    assert choice.finish_reason == "stop"


def test_complete_tool_loop_with_two_parallel_calls(client: openai.OpenAI, stand_in: StandInProcess, mark: str) -> None:
    calls = '[[tool=get_weather:{"city":"Rome"}]][[tool=get_weather:{"city":"Oslo"}]]'
    messages: list[Any] = ask(f"{mark} {calls}")
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    messages.append(first.message)
    for call in first.message.tool_calls or ():
        assert call.type == "function"
        city = json.loads(call.function.arguments)["city"]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{city} is sunny"})
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert "Rome is sunny" in (second.message.content or "")
    assert "Oslo is sunny" in (second.message.content or "")
    sent = stand_in.recorded(containing=mark)[-1].body["messages"]
    assert [block["type"] for block in sent[1]["content"]] == ["tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in sent[2]["content"]] == [block["id"] for block in sent[1]["content"]]


class GetWeather(BaseModel):
    city: str


def test_send_pydantic_model_as_strict_tool(client: openai.OpenAI, stand_in: StandInProcess, mark: str) -> None:
    completion = client.chat.completions.parse(
        model=MODEL,
        messages=ask(f'{mark}[[tool=GetWeather:{{"city":"Rome"}}]]'),
        tools=[pydantic_function_tool(GetWeather)],
    )
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.parsed_arguments == GetWeather(city="Rome")
    assert stand_in.only(mark).body["tools"][0]["strict"] is True


def test_send_image_upstream(client: openai.OpenAI, stand_in: StandInProcess, mark: str) -> None:
    parts: Any = [{"type": "text", "text": mark}, {"type": "image_url", "image_url": {"url": PNG}}]
    completion = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}])
    assert "You sent 1 image" in (completion.choices[0].message.content or "")
    assert stand_in.only(mark).body["messages"][0]["content"][1] == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }


def test_show_thinking_and_return_it_with_tool_results(
    client: openai.OpenAI, stand_in: StandInProcess, mark: str
) -> None:
    messages: list[Any] = ask(f'{mark}[[think=Hm.]][[tool=get_weather:{{"city":"Rome"}}]]')
    asked: Any = {
        "model": MODEL,
        "tools": [WEATHER],
        "reasoning_effort": "low",
        "extra_body": {"include_reasoning": True},
    }
    with client.chat.completions.stream(messages=messages, **asked) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.to_dict()["reasoning_content"] == "Hm."
    assert message.tool_calls is not None
    messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
    client.chat.completions.create(messages=messages, **asked)
    sent = stand_in.recorded(containing=mark)[-1].body
    assert sent["thinking"]["type"] == "enabled"
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["thinking", "tool_use"]


def test_name_ignored_parameter_in_header(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=ask("[[say=x]]"), n=2, seed=7, temperature=1.5
    )
    assert raw.headers["x-proxy-ignored"] == "seed, n (one choice), temperature (clipped to 1)"
    assert raw.headers["x-request-id"]


@pytest.mark.parametrize("stop", ["max_tokens", "refusal"])
def test_raise_in_parse_helper_for_truncated_answer(client: openai.OpenAI, stop: str) -> None:
    expected = openai.LengthFinishReasonError if stop == "max_tokens" else openai.ContentFilterFinishReasonError
    with pytest.raises(expected):
        client.chat.completions.parse(model=MODEL, messages=ask(f"[[say=x]][[stop={stop}]]"), response_format=Sum)


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, "upstream_authentication"),
        (403, openai.PermissionDeniedError, "permission_denied"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (529, openai.InternalServerError, "overloaded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_raise_clients_exception_for_upstream_error(
    client: openai.OpenAI, status: int, expected: type[openai.APIStatusError], code: str | None, stream: bool
) -> None:
    with pytest.raises(expected) as caught:
        client.chat.completions.create(model=MODEL, messages=ask(f"[[status={status}]]"), stream=stream)
    assert caught.value.status_code == {529: 503}.get(status, status)
    assert caught.value.code == code


def test_name_wrong_field_in_clients_exception(client: openai.OpenAI) -> None:
    messages: Any = [*ask("hi"), {"role": "tool", "content": "x"}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=messages)
    assert caught.value.param == "messages.1.tool_call_id"
    assert caught.value.type == "invalid_request_error"


def test_raise_authentication_error_for_wrong_key(gateway: GatewayProcess) -> None:
    wrong = {**options(gateway), "api_key": "sk-wrong"}
    with openai.OpenAI(**wrong) as stranger, pytest.raises(openai.AuthenticationError) as caught:
        stranger.chat.completions.create(model=MODEL, messages=ask("hi"))
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("fault", ["miderror=3", "cut=3"])
def test_raise_error_in_middle_of_stream(client: openai.OpenAI, fault: str) -> None:
    seen: list[Any] = []
    stream = client.chat.completions.create(model=MODEL, messages=ask(f"[[n=50]][[gap=0.1]] [[{fault}]]"), stream=True)
    with stream, pytest.raises(openai.APIError):
        seen.extend(stream)
    assert seen
    assert all(chunk.choices[0].finish_reason is None for chunk in seen)


@pytest.mark.parametrize("path", ["/v1", "/v1/chat", "/chat"])
def test_list_models(gateway: GatewayProcess, path: str) -> None:
    there = {**options(gateway), "base_url": gateway.base_url + path}
    with openai.OpenAI(**there) as client:
        assert MODEL.removesuffix("-20251001") in " ".join(model.id for model in client.models.list())


def test_wait_as_retry_after_says_and_get_served(
    stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory, mark: str
) -> None:
    one_at_a_time = {
        "CLAUDE_PROXY_MAX_CONCURRENT": "1",
        "CLAUDE_PROXY_QUEUE_MAX": "0",
        "CLAUDE_PROXY_MODEL_ALIASES": f"gpt-4o={MODEL}",
    }
    busy = GatewayProcess(tmp_path_factory.mktemp("busy"), upstream=stand_in.base_url, env=one_at_a_time).start()
    try:
        with openai.OpenAI(**{**options(busy), "max_retries": 3}) as patient, ThreadPoolExecutor() as threads:

            def create(text: str) -> Any:
                return patient.chat.completions.create(model="gpt-4o", messages=ask(text))

            long = threads.submit(create, f"{mark}[[n=20]][[gap=0.05]]")
            eventually(lambda: stand_in.recorded(containing=mark), within_s=20)
            with pytest.raises(openai.InternalServerError) as refused:
                patient.with_options(max_retries=0).chat.completions.create(model=MODEL, messages=ask("hi"))
            started = time.monotonic()
            served = create("[[say=at last]]")
            assert served.choices[0].message.content == "at last"
            assert served.model.startswith(MODEL)  # what an operator's alias means
            assert time.monotonic() - started >= float(refused.value.response.headers["retry-after"])
            assert long.result().choices[0].finish_reason == "stop"
    finally:
        busy.stop()


def test_answer_unknown_paths_and_methods_as_api_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.retrieve("resp_1")
    assert missing.value.code == "not_found"
    with pytest.raises(openai.APIStatusError) as wrong_method:
        client.chat.completions.list()
    assert wrong_method.value.status_code == 405
    assert wrong_method.value.code == "method_not_allowed"
