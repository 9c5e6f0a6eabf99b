"""Prices that depend on more than tokens, on a real gateway: charged, reserved, rejected if unknown."""

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.limits.gateways import make_keys, usage
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.xdist_group("unpriced")

FAST = {"anthropic-beta": "fast-mode-2026-02-01"}
KEYS: Mapping[str, Mapping[str, Any]] = {
    "five": {"budget_total_usd": "5"},
    "hundred": {"budget_total_usd": "100"},
    "open": {},
    "admin": {"scopes": ["api", "admin"]},
    "slow": {"requests_per_minute": 1, "budget_total_usd": "0"},
}


@pytest.fixture(scope="module")
def strict(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Any]]:
    started = GatewayProcess(tmp_path_factory.mktemp("strict"), upstream=stand_in.base_url).start()
    yield started, make_keys(started, KEYS)
    started.stop()


@pytest.fixture(scope="module")
def lenient(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Any]]:
    env = {"CLAUDE_PROXY_ALLOW_UNPRICED": "1"}
    started = GatewayProcess(tmp_path_factory.mktemp("lenient"), upstream=stand_in.base_url, env=env).start()
    yield started, make_keys(started, KEYS)
    started.stop()


def ask(gateway: GatewayProcess, secret: str, told: dict[str, Any], **fields: Any) -> httpx.Response:
    prompt = f"[[say=hi]] [[usage={json.dumps(told)}]] {secrets.token_hex(8)}"
    body = {"max_tokens": 64, "messages": [{"role": "user", "content": prompt}], **fields}
    headers = {"x-api-key": secret, **FAST}
    return httpx.post(f"{gateway.base_url}/v1/messages", json=body, headers=headers, timeout=60)


def cost_of(gateway: GatewayProcess, keys: Mapping[str, str], response: httpx.Response) -> tuple[Any, list[str]]:
    """The cost in the request's trace, and its unpriced parts."""
    assert response.status_code == 200, response.text

    def trace() -> dict[str, Any] | None:
        url = f"{gateway.base_url}/debug/traces/{response.headers['request-id']}"
        found = httpx.get(url, headers={"x-api-key": keys["admin"]})
        return found.json() if found.status_code == 200 and found.json()["status"] == "completed" else None

    found = eventually(trace, within_s=20)
    assert found is not None
    return found["costUsdEstimate"], found["unpriced"]


def test_charge_one_hour_cache_writes_at_their_price(strict: tuple[GatewayProcess, Any]) -> None:
    """Attack price-1h-cache: 3.75 USD were charged for a cost of 6.00."""
    gateway, keys = strict
    parts = {"ephemeral_1h_input_tokens": 1_000_000, "ephemeral_5m_input_tokens": 0}
    told = {"input_tokens": 10, "output_tokens": 10, "cache_creation_input_tokens": 1_000_000, "cache_creation": parts}

    answer = ask(gateway, keys["five"], told, model="claude-sonnet-4-5")

    assert cost_of(gateway, keys, answer) == (pytest.approx(6.00018), [])


def test_refuse_fast_mode_that_has_no_price(strict: tuple[GatewayProcess, Any]) -> None:
    """Attack price-fast: Opus 4.6 no longer has a price for fast mode."""
    gateway, keys = strict
    told = {"input_tokens": 100_000, "output_tokens": 1_000, "speed": "fast"}

    answer = ask(gateway, keys["hundred"], told, model="claude-opus-4-6", speed="fast")

    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    assert "speed" in answer.json()["error"]["message"]


def test_charge_fast_mode_at_its_price(strict: tuple[GatewayProcess, Any]) -> None:
    gateway, keys = strict
    told = {"input_tokens": 100_000, "output_tokens": 1_000, "speed": "fast"}

    answer = ask(gateway, keys["hundred"], told, model="claude-opus-5-5", speed="fast")

    assert cost_of(gateway, keys, answer) == (pytest.approx(0.84), [])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"speed": "turbo"}, "speed"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"tools": [{"type": "video_search_20270101", "name": "v"}]}, "tools.0.type"),
        ({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-next"}]}, "tools.0.model"),
        ({"fallbacks": [{"model": "claude-next"}]}, "fallbacks.0.model"),
        ({"cache_control": {"type": "ephemeral", "ttl": "24h"}}, "cache_control.ttl"),
        ({"model": "claude-next"}, "model"),
    ],
)
def test_refuse_a_field_without_a_price(strict: tuple[GatewayProcess, Any], fields: Any, named: str) -> None:
    gateway, keys = strict

    refused = ask(gateway, keys["hundred"], {"input_tokens": 1}, **{"model": "claude-opus-5-5", **fields})

    assert refused.status_code == 403
    assert refused.json()["error"]["message"].startswith(f"{named}: ")


def test_show_partly_unpriced_cost_everywhere(lenient: tuple[GatewayProcess, Any]) -> None:
    gateway, keys = lenient
    told = {"input_tokens": 100_000, "output_tokens": 1_000, "speed": "fast"}

    answer = ask(gateway, keys["hundred"], told, model="claude-opus-4-6", speed="fast")

    assert cost_of(gateway, keys, answer) == (pytest.approx(0.525), ["speed=fast"])

    def counted() -> dict[str, Any] | None:
        totals: dict[str, Any] = usage(gateway, keys["hundred"])["totals"]
        return totals if totals["requests"] else None

    totals = eventually(counted, within_s=20)
    assert totals is not None
    assert (totals["partly_unpriced"], totals["unpriced"]) == (1, 0)
    assert totals["cost_usd"] == pytest.approx(0.525)
    headers = {"x-api-key": keys["admin"]}
    metrics = httpx.get(f"{gateway.base_url}/metrics", headers=headers).text
    assert 'claude_proxy_unpriced_requests_total{extent="part",model="claude-opus-4-6"} 1.0' in metrics


def test_let_a_key_without_budget_use_what_has_no_price(strict: tuple[GatewayProcess, Any]) -> None:
    gateway, keys = strict

    answer = ask(
        gateway, keys["open"], {"input_tokens": 100, "output_tokens": 1, "speed": "turbo"}, model="claude-opus-5-5"
    )

    assert cost_of(gateway, keys, answer) == (pytest.approx(0.00042), ["speed=turbo"])


def test_limit_count_tokens_by_a_gauge_of_its_own(strict: tuple[GatewayProcess, Any]) -> None:
    """Attack 12: 30 of 30 requests were answered for a key limited to one per minute."""
    gateway, keys = strict
    body = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hi"}]}
    url, headers = f"{gateway.base_url}/v1/messages/count_tokens", {"x-api-key": keys["slow"]}

    answers = [httpx.post(url, json=body, headers=headers) for _ in range(30)]

    assert [it.status_code for it in answers] == [200] + [429] * 29
    assert answers[1].json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(answers[1].headers["retry-after"]) <= 120
