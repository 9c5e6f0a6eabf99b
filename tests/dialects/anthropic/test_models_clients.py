"""The Models API and count_tokens as the official clients see them, over a real port."""

import anthropic
import openai
import pytest

from tests.support.gateway import GatewayProcess


def test_page_through_models_with_anthropic_client(gateway: GatewayProcess) -> None:
    client = gateway.client()
    listed = [model.id for model in client.models.list(limit=5)]
    assert len(listed) == len(set(listed)) > 10
    assert "claude-opus-5-5" in listed
    (retired, deprecated) = (list(client.models.list(lifecycle=[stage])) for stage in ("retired", "deprecated"))
    assert not retired
    assert [model.id for model in deprecated] == ["claude-sonnet-4-5-20250929"]


def test_retrieve_model_by_alias_with_anthropic_client(gateway: GatewayProcess) -> None:
    model = gateway.client().models.retrieve("opus")
    assert (model.id, model.display_name, model.max_tokens) == ("claude-opus-5-5", "Claude Opus 5.5", 128_000)
    with pytest.raises(anthropic.NotFoundError, match="claude-unknown") as caught:
        gateway.client().models.retrieve("claude-unknown")
    assert caught.value.type == "not_found_error"


def test_read_same_list_with_openai_client(gateway: GatewayProcess) -> None:
    with openai.OpenAI(api_key=gateway.api_key, base_url=f"{gateway.base_url}/v1", max_retries=0) as client:
        models = {model.id: model for model in client.models.list()}
        assert models["claude-opus-5-5"].owned_by == "anthropic"
        assert client.models.retrieve("claude-opus-5-5").created == models["claude-opus-5-5"].created


def test_tokens_are_counted_by_the_upstream(gateway: GatewayProcess) -> None:
    client = gateway.client()
    short = client.messages.count_tokens(model="opus", messages=[{"role": "user", "content": "hello"}])
    long = client.messages.count_tokens(model="opus", messages=[{"role": "user", "content": "hello " * 100}])
    assert 0 < short.input_tokens < long.input_tokens
    with pytest.raises(anthropic.RateLimitError, match="slow down"):
        client.messages.count_tokens(
            model="opus", messages=[{"role": "user", "content": "[[status=429]] [[message=slow down]]"}]
        )


def test_reveal_nothing_without_key(gateway: GatewayProcess) -> None:
    with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
        gateway.client(api_key="sk-proxy-wrong").models.list()
    with gateway.http(**{"x-api-key": ""}) as http:
        answer = http.get("/v1/models")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"  # OpenAI's shape: no `anthropic-version`
