"""Endpoints that the gateway does not have: a 501 in the shape of their API, asked for once."""

from typing import Any

import anthropic
import httpx
import openai
import pytest

from proxy_site.routes import Errors, route_of
from proxy_site.unbuilt import UNBUILT, Unbuilt, find_unbuilt
from tests.dialects.openai.conftest import options
from tests.support.gateway import GatewayProcess

ANTHROPIC = {"anthropic-version": "2023-06-01"}


def error_of(answer: httpx.Response, shape: str) -> dict[str, Any]:
    """The error object, which has exactly this API's shape."""
    body = answer.json()
    error: dict[str, Any] = body["error"]
    if shape == "anthropic":
        assert body.keys() == {"type", "error", "request_id"}
        assert error.keys() == {"type", "message"}
    else:
        assert body.keys() == {"error"}
        assert error.keys() == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("endpoint", UNBUILT, ids=lambda it: it.path)
def test_answer_501_in_shape_of_the_api(gateway: GatewayProcess, endpoint: Unbuilt) -> None:
    headers = {"authorization": f"Bearer {gateway.api_key}"} | (ANTHROPIC if endpoint.dialect == "anthropic" else {})
    for path in (f"/v1{endpoint.path}", f"{endpoint.path}/some/more"):
        answer = httpx.post(gateway.base_url + path, json={}, headers=headers, timeout=60)
        assert answer.status_code == 501
        assert answer.headers["x-should-retry"] == "false"
        error = error_of(answer, endpoint.dialect or "openai")
        assert error["type"] == "not_implemented_error"
        assert endpoint.hint in error["message"]


@pytest.mark.parametrize("path", ["/v1/files", "/v1/skills/skill_1/versions"])
def test_answer_anthropic_clients_in_their_shape(gateway: GatewayProcess, path: str) -> None:
    key = {"x-api-key": gateway.api_key}
    assert error_of(httpx.get(gateway.base_url + path, headers=key | ANTHROPIC, timeout=60), "anthropic")
    assert error_of(httpx.get(gateway.base_url + path, headers=key, timeout=60), "openai")


@pytest.mark.parametrize("path", ["/v1/files", "/files", "/v1/embeddings", "/v1/messages/batches/batch_1/results"])
def test_require_a_key_first(gateway: GatewayProcess, path: str) -> None:
    assert httpx.post(gateway.base_url + path, json={}, timeout=60).status_code == 401


def test_tell_official_clients_once(gateway: GatewayProcess) -> None:
    asked: list[str] = []

    def note(request: Any) -> None:
        asked.append(request.url.path)

    with openai.OpenAI(**options(gateway) | {"max_retries": 3}) as client:
        client._client.event_hooks = {"request": [note]}
        with pytest.raises(openai.InternalServerError) as failed:
            client.embeddings.create(model="text-embedding-3-small", input="x")
    assert (failed.value.status_code, failed.value.code) == (501, "not_implemented")
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=gateway.api_key, max_retries=3) as other:
        other._client.event_hooks = {"request": [note]}
        with pytest.raises(anthropic.APIStatusError) as refused:
            other.messages.batches.list()
    assert refused.value.status_code == 501
    assert asked == ["/v1/embeddings", "/v1/messages/batches"]


@pytest.mark.parametrize(
    ("path", "errors"),
    [
        ("/v1/embeddings", Errors.OPENAI),
        ("/completions", Errors.OPENAI),
        ("/v1/conversations/conv_1/items", Errors.OPENAI),
        ("/v1/files/file_1/content", Errors.EITHER),
        ("/v1/messages/batches", Errors.ANTHROPIC),
        ("/v1/organizations/usage_report/messages", Errors.ANTHROPIC),
    ],
)
def test_give_paths_the_errors_of_their_api(path: str, errors: Errors) -> None:
    assert (route_of(path).errors, route_of(path).api_key) == (errors, True)


@pytest.mark.parametrize(
    "path", ["/", "/v1/filesystem", "/v1/chat/completions", "/v1/messages", "/v2/files", "/v1/files\n"]
)
def test_match_no_other_path(path: str) -> None:
    assert find_unbuilt(path) is None
