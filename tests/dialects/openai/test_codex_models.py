"""The model catalog in the shape that Codex reads."""

from typing import Any, get_args

import httpx
import openai
import pytest

from apiproxy.dialects.openai.codex_models import INSTRUCTIONS, entries
from apiproxy.dialects.openai.fields import Effort
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess

REQUIRED: dict[str, type | tuple[type, ...]] = {
    "slug": str,
    "display_name": str,
    "supported_reasoning_levels": list,
    "shell_type": str,
    "visibility": str,
    "supported_in_api": bool,
    "priority": int,
    "base_instructions": str,
    "supports_reasoning_summaries": bool,
    "support_verbosity": bool,
    "truncation_policy": dict,
    "supports_parallel_tool_calls": bool,
    "experimental_supported_tools": list,
}
"""What `ModelInfo` of Codex has without a default, in any version."""
NULLABLE = ("description", "upgrade", "default_verbosity", "apply_patch_tool_type", "availability_nux")


def catalog(gateway: GatewayProcess, path: str = "/v1/models", **headers: str) -> httpx.Response:
    url = f"{gateway.base_url}{path}?client_version=0.171.0"
    return httpx.get(url, headers={"authorization": f"Bearer {gateway.api_key}", **headers}, timeout=60)


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_list_models_with_all_that_codex_requires(gateway: GatewayProcess, path: str) -> None:
    answer = catalog(gateway, path)
    assert answer.json().keys() == {"models"}
    models: list[dict[str, Any]] = answer.json()["models"]
    assert models
    for model in models:
        assert {name: type(model[name]) for name in REQUIRED} == REQUIRED
        assert set(NULLABLE) <= model.keys()
        assert model["truncation_policy"]["mode"] in ("bytes", "tokens")
        assert model["visibility"] in ("list", "hide")
        levels = [level["effort"] for level in model["supported_reasoning_levels"]]
        assert set(levels) <= set(get_args(Effort)) - {"max"}
        assert model["default_reasoning_level"] in (*levels, None)
        assert model["model_messages"]["instructions_template"] == model["base_instructions"] == INSTRUCTIONS
    assert answer.headers["etag"] == catalog(gateway, path).headers["etag"]


def test_list_each_name_once_and_hide_aliases(gateway: GatewayProcess) -> None:
    models = catalog(gateway).json()["models"]
    slugs = [model["slug"] for model in models]
    assert len(set(slugs)) == len(slugs)
    shown = [model["slug"] for model in models if model["visibility"] == "list"]
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.api_key) as client:
        assert sorted(shown) == sorted(model.id for model in client.models.list())
    assert "sonnet" in set(slugs) - set(shown)


def test_list_only_models_that_the_key_may_use(gateway: GatewayProcess) -> None:
    (secret,) = make_keys(gateway, {"codex": {"allowed_models": ["haiku"], "allowed_dialects": ["openai"]}}).values()
    models = catalog(gateway, authorization=f"Bearer {secret}").json()["models"]
    assert models
    assert all("haiku" in model["slug"] for model in models)


def test_keep_the_shape_of_clients_that_send_a_version(gateway: GatewayProcess) -> None:
    answer = catalog(gateway, **{"anthropic-version": "2023-06-01"}).json()
    assert answer["data"][0]["type"] == "model"


def test_tell_openai_clients_of_an_unknown_model(gateway: GatewayProcess) -> None:
    with (
        openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.api_key) as client,
        pytest.raises(openai.NotFoundError) as failed,
    ):
        client.models.retrieve("gpt-none")
    assert failed.value.code == "not_found"
    with pytest.raises(Exception, match="gpt-none"):
        gateway.client().models.retrieve("gpt-none")


def test_list_nothing_of_no_models() -> None:
    assert entries([]) == []
