"""Keys and agents: a key's list must name an agent, and lists of models show those that it may use."""

from typing import Any

import orjson
import pytest
from anthropic.types import ModelInfo
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import RequestFactory

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.dialects.anthropic import models as anthropic_models
from apiproxy.dialects.openai import codex_models
from apiproxy.dialects.openai import models as openai_models
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import may_use, require_allowed, require_model
from apiproxy.models import McpServer, Model
from tests.support.stored_agents import MODEL, make_agent, make_server

pytestmark = pytest.mark.django_db


def principal(*models: str) -> Principal:
    return Principal(key_id=1, label="ci", scopes=frozenset({"api"}), allowed_models=models)


def allowed(name: str, *models: str) -> bool:
    return may_use(principal(*models), async_to_sync(gateway().catalog.resolve)(name))


def refusal(name: str, *models: str) -> ProxyError:
    with pytest.raises(ProxyError) as refused:
        require_model(principal(*models), async_to_sync(gateway().catalog.resolve)(name))
    return refused.value


def read(response: HttpResponse) -> Any:
    return orjson.loads(response.content)


def listed(*models: str) -> list[str]:
    """Agents in every list of models."""
    request = RequestFactory().get("/v1/models", headers={"anthropic-version": "2023-06-01"}, data={"limit": "1000"})
    key = principal(*models)
    messages = read(async_to_sync(anthropic_models.list_models)(request, key))["data"]
    chat = read(async_to_sync(openai_models.list_models)(key))["data"]
    codex = read(async_to_sync(codex_models.list_models)(key))["models"]
    found = [item["id"] for item in messages if "claude" not in item["id"]]
    assert [item["id"] for item in chat if "claude" not in item["id"]] == found
    slugs = [item["slug"] for item in codex if item["visibility"] == "list" and "claude" not in item["slug"]]
    assert slugs == found
    return found


@pytest.fixture(autouse=True)
def agents() -> None:
    make_agent(system="one")
    make_agent(system="two")
    make_agent("other-bot", description="Does other things", display_name="Other")


def test_exclude_agents_from_empty_list() -> None:
    assert allowed("opus")
    assert not allowed("support-bot")
    assert not allowed("support-bot@1")
    assert listed() == []
    assert refusal("support-bot").kind is FailureKind.FORBIDDEN


def test_grant_versions_with_slug() -> None:
    for name in ("support-bot", "support-bot@1", "support-bot@2"):
        assert allowed(name, "support-bot")
        assert allowed(name, "support-*")
        assert allowed(name, "*")
    assert not allowed("other-bot", "support-bot")
    assert not allowed("support-bot", "claude-*")
    assert not allowed(MODEL, "support-bot")
    assert listed("support-bot") == ["support-bot"]
    assert listed("*-bot") == ["other-bot", "support-bot"]


def test_grant_one_version_alone() -> None:
    assert allowed("support-bot@2", "support-bot@2")
    assert not allowed("support-bot@1", "support-bot@2")
    assert not allowed("support-bot", "support-bot@2")
    assert listed("support-bot@1", "support-bot@7", "nothing@1") == ["support-bot@1"]


def test_answer_404_for_missing_version_and_disabled_agent() -> None:
    assert refusal("support-bot@3", "support-bot").kind is FailureKind.NOT_FOUND
    assert refusal("support-bot@3").kind is FailureKind.FORBIDDEN
    make_agent(enabled=False)
    for name in ("support-bot", "support-bot@1", "support-bot@2"):
        assert refusal(name, "support-bot").kind is FailureKind.NOT_FOUND
    assert listed("*", "support-bot@1") == ["other-bot"]


def test_refuse_agent_that_cannot_run() -> None:
    make_server("wiki")
    make_agent(mcp_servers=["wiki"])
    McpServer.objects.get(pk="wiki").delete()
    error = refusal("support-bot", "support-bot")
    assert (error.kind, error.param) == (FailureKind.MCP_SERVER_DOWN, "model")
    assert error.message == "The agent `support-bot` cannot run: one of its MCP servers is not available."
    Model.objects.filter(pk=MODEL).update(enabled=False)
    gateway().catalog.forget()
    assert refusal("other-bot", "other-bot").kind is FailureKind.NOT_FOUND
    assert listed("*") == []


def test_give_agent_fields_of_models_api() -> None:
    Model.objects.filter(pk=MODEL).update(capabilities={"batch": {"supported": True}})
    gateway().catalog.forget()
    for name in ("other-bot", "other-bot@1"):
        request = RequestFactory().get(f"/v1/models/{name}", headers={"anthropic-version": "2023-06-01"})
        item = read(async_to_sync(anthropic_models.retrieve_model)(request, principal("other-bot"), name))
        inner = Model.objects.get(pk=MODEL)
        assert (item["id"], item["display_name"], item["description"]) == (name, "Other", "Does other things")
        assert (item["max_tokens"], item["max_input_tokens"]) == (inner.max_output_tokens, inner.context_window)
        assert item["capabilities"] == {"batch": {"supported": True}}
        ModelInfo.model_validate(item | {"capabilities": None})
        with pytest.raises(ProxyError):
            async_to_sync(anthropic_models.retrieve_model)(request, principal(), name)


def test_refuse_agent_in_further_fields_of_body() -> None:
    body: dict[str, Any] = {"model": "opus", "fallbacks": [{"model": "support-bot"}]}
    for models, kind in (((), FailureKind.FORBIDDEN), (("*",), FailureKind.INVALID_REQUEST)):
        with pytest.raises(ProxyError) as refused:
            async_to_sync(require_allowed)(principal(*models), body, catalog=gateway().catalog)
        assert (refused.value.kind, refused.value.param) == (kind, "fallbacks.0.model")
