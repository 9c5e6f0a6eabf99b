"""`require_allowed`: what a key's lists mean for a body, with the models and aliases of the catalog."""

from dataclasses import replace
from typing import Any

import pytest
from pytest_django import Settings

from apiproxy.catalog import Catalog
from apiproxy.conf import AllowLists
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.db.guarded_query import QueryGuard
from apiproxy.keys import authentication
from apiproxy.models import Model

pytestmark = pytest.mark.django_db(transaction=True)

OPUS = "claude-opus-4-6"


async def require_allowed(key: Principal, body: dict[str, Any], **options: Any) -> None:
    await authentication.require_allowed(key, body, catalog=Catalog(QueryGuard()), **options)


def principal(**lists: tuple[str, ...]) -> Principal:
    return Principal(key_id=1, label="k", scopes=frozenset({"api"}), **lists)  # type: ignore[arg-type]  # by name


def advised(model: str) -> dict[str, Any]:
    return {"model": "haiku", "tools": [{"type": "advisor_20260301", "name": "advisor", "model": model}]}


async def refusal(key: Principal, body: dict[str, Any], **options: Any) -> ProxyError:
    with pytest.raises(ProxyError) as refused:
        await require_allowed(key, body, **options)
    return refused.value


@pytest.mark.parametrize("body_bytes", [0, 2**24])
async def test_refuses_a_model_that_is_not_the_keys(body_bytes: int) -> None:
    refused = await refusal(principal(allowed_models=("haiku",)), advised(OPUS), body_bytes=body_bytes)
    assert (refused.kind, refused.param) == (FailureKind.FORBIDDEN, "tools.0.model")
    assert OPUS in refused.message
    assert "tools.0.model" in refused.message


async def test_resolves_aliases_before_it_looks_them_up(settings: Settings) -> None:
    # An operator's alias may be the name of a model: the upstream must get the one that was looked up.
    settings.GATEWAY = replace(settings.GATEWAY, model_aliases={OPUS: "claude-haiku-4-5"})
    body = advised(OPUS)
    await require_allowed(principal(allowed_models=("claude-haiku-4-5*",)), body)
    assert body["tools"][0]["model"].startswith("claude-haiku-4-5")


async def test_refuses_a_model_that_is_switched_off() -> None:
    await Model.objects.filter(id=OPUS).aupdate(enabled=False)
    refused = await refusal(principal(), advised(OPUS))
    assert (refused.kind, refused.param) == (FailureKind.NOT_FOUND, "tools.0.model")


async def test_lets_a_key_without_lists_use_everything() -> None:
    body = {**advised("claude-unheard-of"), "fallbacks": "default", "mcp_servers": [{"url": "gopher://x"}]}
    await require_allowed(principal(), body, betas=("any-1",))


async def test_adds_the_lists_of_the_gateway_to_those_of_the_key(settings: Settings) -> None:
    allowed = AllowLists(betas=("a-*",), server_tools=("advisor*",), mcp_hosts=("*.example",))
    settings.GATEWAY = replace(settings.GATEWAY, allowed=allowed)
    key = principal(allowed_betas=("*-1",), allowed_server_tools=("*_20260301",), allowed_mcp_hosts=("a.example",))
    await require_allowed(key, {**advised(OPUS), "mcp_servers": [{"url": "https://a.example"}]}, betas=("a-1",))
    for beta in ("a-2", "b-1"):
        assert (await refusal(key, {}, betas=(beta,))).param == "anthropic-beta"
    for url in ("https://b.example", "https://a.example.org"):
        assert (await refusal(key, {"mcp_servers": [{"url": url}]})).param == "mcp_servers.0.url"
    assert (await refusal(key, {"tools": [{"type": "advisor_20270101"}]})).param == "tools.0.type"
