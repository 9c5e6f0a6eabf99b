"""Fifty clients on one key: limits hold in one process and in two, and totals are right after a kill."""

import secrets
import threading
from typing import Any

import httpx
import pytest

from tests.limits.conftest import COST_USD
from tests.limits.gateways import Site, ask_many, body, make_keys, manage, usage
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

CLIENTS = 50

pytestmark = [pytest.mark.xdist_group("limits"), pytest.mark.long]


def costing(more: str = "") -> str:
    return f"[[say=hi]] [[in=100]] [[out=20]] {more} {secrets.token_hex(8)}"


def settled(gateway: GatewayProcess, secret: str, requests: int) -> dict[str, Any]:
    """The usage, once it includes `requests` requests and nothing is reserved."""

    def complete() -> dict[str, Any] | None:
        found = usage(gateway, secret)
        reserved = sum(budget["reserved_usd"] for budget in found["budgets"])
        return found if found["totals"]["requests"] >= requests and not reserved else None

    found = eventually(complete, within_s=20)
    assert found is not None
    return found


def most_at_once(stand_in: StandInProcess, containing: str) -> int:
    """Maximum number of concurrent exchanges with that text."""
    exchanges = stand_in.recorded(containing=containing)
    moments = [(it.started_at, 1) for it in exchanges] + [(it.ended_at or float("inf"), -1) for it in exchanges]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most


async def test_requests_per_minute(site: Site) -> None:
    secret = site.secrets["requests"]
    asked = await ask_many(site.gateways, secret, costing(), clients=CLIENTS)
    assert asked.statuses == {200: 20, 429: 30}
    for response in asked.responses:
        assert response.headers["anthropic-ratelimit-requests-limit"] == "20"
        if response.status_code == 429:
            assert 1 <= int(response.headers["retry-after"]) <= 60
            assert response.json()["error"]["type"] == "rate_limit_error"
    remaining = [int(it.headers["anthropic-ratelimit-requests-remaining"]) for it in asked.responses]
    assert sorted(set(remaining)) == list(range(20))


async def test_runs_at_the_same_time(site: Site, stand_in: StandInProcess) -> None:
    secret, prompt = site.secrets["runs"], costing("[[first=0.2]]")
    asked = await ask_many(site.gateways, secret, prompt, clients=CLIENTS, each=2)
    assert set(asked.statuses) == {200, 429}
    assert asked.passed >= 3
    assert most_at_once(stand_in, prompt.split()[-1]) <= 3


async def test_tokens_per_minute(site: Site) -> None:
    secret = site.secrets["tokens"]
    asked = await ask_many(site.gateways, secret, costing(), clients=CLIENTS, each=2)
    assert set(asked.statuses) == {200, 429}
    used = settled(site.first, secret, asked.passed)["totals"]
    assert used["input_tokens"] + used["output_tokens"] == 120 * asked.passed
    assert 12 <= asked.passed <= 2000 // 120


async def test_admit_a_hundred_requests_for_their_budget(site: Site) -> None:
    secret = site.secrets["budget"]
    asked = await ask_many(site.gateways, secret, costing(), clients=CLIENTS, each=4)
    assert set(asked.statuses) <= {200, 402, 429}
    passed = asked.passed
    while not asked.statuses[402]:  # what was refused only because others might have used up the rest
        asked = await ask_many(site.gateways, secret, costing(), clients=1)
        passed += asked.passed
    # The last that fit may cost more than they do: those are refused, and none beyond.
    assert 95 <= passed <= 100
    (budget,) = settled(site.first, secret, passed)["budgets"]
    assert budget["spent_usd"] == pytest.approx(passed * COST_USD)
    assert "is spent" in asked.responses[-1].text or "are left" in asked.responses[-1].text


async def test_respect_all_limits_together(site: Site, stand_in: StandInProcess) -> None:
    secret = site.secrets["all"]
    prompt = costing("[[first=0.05]]")
    passed, statuses = 0, set[int]()
    for _ in range(4):
        asked = await ask_many(site.gateways, secret, prompt, clients=CLIENTS)
        passed += asked.passed
        statuses |= set(asked.statuses)
    assert statuses <= {200, 402, 429}
    assert 3 <= passed <= 10
    assert most_at_once(stand_in, prompt.split()[-1]) <= 3
    assert settled(site.first, secret, passed)["budgets"][0]["spent_usd"] == pytest.approx(passed * COST_USD)


async def test_usage_and_traces_agree(site: Site) -> None:
    secret = site.secrets["none"]
    asked = await ask_many(site.gateways, secret, costing(), clients=10)
    assert asked.statuses == {200: 10}
    settled(site.first, secret, 10)

    def agree() -> bool:
        return "agree" in manage(site.first, "checkusage", "--days=1", expected=None)

    eventually(agree, within_s=30)


@pytest.mark.fault("SIGKILL", "while keys hold parts of their limits", after="given back at the next start")
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_return_reservations_after_kill(
    database: str, request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    env = {"CLAUDE_PROXY_WARM_WORKERS": "0"}
    if database == "postgres":
        env["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    gateway = GatewayProcess(tmp_path_factory.mktemp("killed"), upstream=stand_in.base_url, env=env).start()
    try:
        secret = make_keys(gateway, {"k": {"concurrent_runs": 3, "budget_total_usd": "0.001"}})["k"]
        headers = {"x-api-key": secret}

        def ask(prompt: str) -> int:
            try:
                answer = httpx.post(f"{gateway.base_url}/v1/messages", json=body(prompt), headers=headers, timeout=60)
            except httpx.TransportError:
                return 0
            return answer.status_code

        assert ask(costing()) == 200
        before = settled(gateway, secret, 1)
        hanging = [threading.Thread(target=ask, args=(costing("[[hang]]"),)) for _ in range(3)]
        for thread in hanging:
            thread.start()
        eventually(lambda: usage(gateway, secret)["budgets"][0]["reserved_usd"] >= 3 * COST_USD, within_s=20)
        assert ask(costing()) == 429
        gateway.process.kill()
        gateway.process.stop(within_s=20)
        for thread in hanging:
            thread.join(30)
        gateway.start()
        after = settled(gateway, secret, 1)
        assert after["totals"] == before["totals"]
        assert after["budgets"] == before["budgets"]
        assert [ask(costing()) for _ in range(3)] == [200] * 3
    finally:
        gateway.stop()
