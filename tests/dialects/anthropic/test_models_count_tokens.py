"""POST /v1/messages/count_tokens: the upstream's own count where it can be had, an estimate where it cannot."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
from asgiref.sync import async_to_sync
from django.http import JsonResponse
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from apiproxy.conf import Credential
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.dialects.anthropic.count_tokens import count_tokens
from apiproxy.engines.sdk.overlay import system_with_identity
from apiproxy.gateway import gateway
from apiproxy.limits.token_counter import TokenCounter, estimate_tokens
from tests.upstream import Recorder, start

PRINCIPAL = Principal(key_id=1, label="ci", scopes=frozenset({"api"}))


def api_key(base_url: str, **env: str) -> Credential:
    return Credential(kind="api_key", env={"ANTHROPIC_API_KEY": "sk-upstream", **env}, base_url=base_url)


def prompt(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": text}], **fields}


@asynccontextmanager
async def upstream(recorder: Recorder | None = None) -> AsyncIterator[str]:
    server = await start(recorder=recorder)
    try:
        yield server.base_url
    finally:
        await server.close()


async def counted(credential: Credential, body: Mapping[str, Any], **options: Any) -> int | None:
    counter = TokenCounter(credential)
    try:
        return await counter.count(body, **options)
    finally:
        await counter.aclose()


async def test_send_body_betas_and_key_upstream_unchanged() -> None:
    recorder = Recorder()
    sent = {"anthropic-beta": "one-2026-01-01 ,two", "anthropic-version": "2026-10-21", "user-agent": "theirs"}
    body = prompt("é" * 100, tools=[{"name": "t", "input_schema": {}}], some_new_field={"x": [1.5, None, True]})
    async with upstream(recorder) as base_url:
        count = await counted(api_key(base_url), body, headers=sent, beta_api=True)
    (exchange,) = recorder.exchanges
    assert exchange.body == body
    assert exchange.path == "/v1/messages/count_tokens"
    assert exchange.query == "beta=true"
    assert {name: exchange.headers[name] for name in sent} == sent
    assert exchange.headers["x-api-key"] == "sk-upstream"
    assert "authorization" not in exchange.headers
    assert isinstance(count, int)
    assert count > 25


async def test_send_gateway_token_as_bearer_with_custom_headers() -> None:
    recorder = Recorder()
    env = {"ANTHROPIC_AUTH_TOKEN": "token", "ANTHROPIC_CUSTOM_HEADERS": "X-Team: red\nnonsense\nX-Other:  blue "}
    async with upstream(recorder) as base_url:
        await counted(Credential(kind="gateway_token", env=env, base_url=base_url), prompt("hello"))
    (exchange,) = recorder.exchanges
    assert exchange.headers["authorization"] == "Bearer token"
    assert exchange.headers["x-team"] == "red"
    assert exchange.headers["x-other"] == "blue"
    assert "x-api-key" not in exchange.headers


async def test_keep_status_type_and_message_of_upstream_error() -> None:
    async with upstream() as base_url:
        with pytest.raises(ProxyError) as caught:
            await counted(api_key(base_url), prompt("[[status=429]] [[message=slow down]] [[retry_after=7]]"))
    error = caught.value
    assert error.kind is FailureKind.UPSTREAM_ERROR
    assert error.upstream is not None
    assert (error.upstream.status, error.upstream.type) == (429, "rate_limit_error")
    assert error.message == "slow down"
    assert error.upstream.headers["retry-after"] == "7"


async def test_keep_status_of_error_that_is_not_json() -> None:
    async with upstream() as base_url:
        with pytest.raises(ProxyError) as caught:
            await counted(api_key(base_url), prompt("[[status=503]] [[html]]"))
    assert caught.value.upstream is not None
    assert (caught.value.upstream.status, caught.value.upstream.type) == (503, "api_error")
    assert "503" in caught.value.message


async def test_fall_back_to_estimate_without_count_endpoint() -> None:
    async with upstream() as base_url:
        assert await counted(api_key(base_url), prompt("[[status=404]] [[html]]")) is None
        with pytest.raises(ProxyError):  # no such model: the API's own 404
            await counted(api_key(base_url), prompt("[[status=404]]"))


async def test_report_lost_connection() -> None:
    async with upstream() as base_url:
        with pytest.raises(ProxyError) as caught:
            await counted(api_key(base_url), prompt("[[drop]]"))
    assert caught.value.kind is FailureKind.CONNECTION_LOST
    with pytest.raises(ProxyError) as caught:
        await counted(api_key(base_url), prompt("nobody listens there any more"))
    assert caught.value.kind is FailureKind.CONNECTION_LOST


async def test_give_up_silent_upstream() -> None:
    async with upstream() as base_url:
        counter = TokenCounter(api_key(base_url), timeout_s=0.05)
        with pytest.raises(ProxyError) as caught:
            await counter.count(prompt("[[silent]]"))
        await counter.aclose()
    assert caught.value.kind is FailureKind.STALL


async def test_connections_are_shared_and_closed() -> None:
    async with upstream() as base_url:
        counter = TokenCounter(api_key(base_url))
        await asyncio.gather(*[counter.count(prompt("hello")) for _ in range(20)])
        await counter.aclose()
        await counter.aclose()
        assert await counter.count(prompt("hello")) is not None
        await counter.aclose()


def ask(body: object, *, principal: Principal = PRINCIPAL) -> JsonResponse:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    request = RequestFactory().post("/v1/messages/count_tokens", raw, content_type="application/json")

    async def answer() -> JsonResponse:
        try:
            return await count_tokens(request, principal)
        finally:
            await gateway().token_counter.aclose()

    return async_to_sync(answer)()


@pytest.mark.django_db
def test_mark_count_as_estimate_without_upstream(settings: Settings) -> None:
    settings.GATEWAY = replace(settings.GATEWAY, credential=Credential(kind="bedrock"))
    response = ask(prompt("x" * 250))
    assert response.headers["x-proxy-token-count"] == "estimate"
    assert 100 <= orjson.loads(response.content)["input_tokens"] <= 120


@pytest.mark.django_db
def test_send_models_id_for_alias(settings: Settings) -> None:
    recorder = Recorder()
    request = RequestFactory().post(
        "/v1/messages/count_tokens", orjson.dumps(prompt("hello", model="sonnet")), content_type="application/json"
    )

    async def exchange() -> JsonResponse:
        async with upstream(recorder) as base_url:
            settings.GATEWAY = replace(settings.GATEWAY, credential=api_key(base_url))
            try:
                return await count_tokens(request, PRINCIPAL)
            finally:
                await gateway().token_counter.aclose()

    response = async_to_sync(exchange)()
    assert "x-proxy-token-count" not in response.headers
    assert orjson.loads(response.content).keys() == {"input_tokens"}
    system = system_with_identity(None)  # the default engine adds it to a turn
    assert recorder.exchanges[0].body == prompt("hello", model="claude-sonnet-5-5") | {"system": system}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        ([], "object"),
        ({"messages": []}, "model: "),
        ({"model": "opus"}, "messages: "),
        ({"model": 1, "messages": []}, "model: "),
    ],
)
def test_reject_body_that_cannot_be_counted(body: object, message: str) -> None:
    with pytest.raises(ProxyError, match=message) as caught:
        ask(body)
    assert caught.value.kind is FailureKind.INVALID_REQUEST


@pytest.mark.django_db
def test_count_only_for_models_of_key() -> None:
    with pytest.raises(ProxyError) as caught:
        ask(prompt("hello"), principal=replace(PRINCIPAL, allowed_models=("haiku",)))
    assert caught.value.kind is FailureKind.FORBIDDEN


def test_count_image_and_not_its_base64() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 9999}}
    assert estimate_tokens({"messages": [{"role": "user", "content": [image]}]}) < 2_000
    assert estimate_tokens({"messages": [{"role": "user", "content": [document]}]}) < 4_000


@given(text=st.text(), more=st.text(min_size=10))
def test_never_count_fewer_tokens_for_longer_prompt(text: str, more: str) -> None:
    assert 1 <= estimate_tokens(prompt(text)) < estimate_tokens(prompt(text + more))
    assert estimate_tokens(prompt(text)) < estimate_tokens(prompt(text, system=[{"type": "text", "text": more}]))
    assert estimate_tokens(prompt(text)) < estimate_tokens(prompt(text, tools=[{"name": more}]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "source", "text", "x"]), inner),
)


@given(messages=JSON, system=JSON, tools=JSON)
def test_any_body_can_be_estimated(messages: object, system: object, tools: object) -> None:
    assert estimate_tokens({"messages": messages, "system": system, "tools": tools}) >= 1
