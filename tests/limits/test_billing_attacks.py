"""Reported attacks on billing and limits, each against a real gateway."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.limits.gateways import Site, make_keys, usage
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

MODEL = "claude-sonnet-4-5"
PARALLEL = 12
KEYS: Mapping[str, Mapping[str, object]] = {
    "image": {"budget_total_usd": "0.30"},
    "schema": {"budget_total_usd": "0.05"},
    "minute": {"requests_per_minute": 100},
    "early": {"budget_total_usd": "0.30"},
    "operator": {"scopes": ["api", "admin"]},
}
ABSURD: Mapping[str, Any] = {
    "negative": {"input_tokens": -5, "output_tokens": 1},
    "9e18": {"input_tokens": 9_000_000_000_000_000_000, "output_tokens": 1},
    "1e30": {"input_tokens": 1e30, "output_tokens": 1},
    "float": {"input_tokens": 2.5, "output_tokens": 1},
    "text": {"input_tokens": "12", "output_tokens": "x"},
    "true": {"input_tokens": True, "output_tokens": False},
    "lists": {"input_tokens": [1], "output_tokens": {}},
    "null counts": {"input_tokens": None, "output_tokens": None},
    "cache": {"input_tokens": 3, "cache_read_input_tokens": -1, "cache_creation_input_tokens": 1e19},
    "empty": {},
    "none": None,
}

pytestmark = [pytest.mark.xdist_group("limits"), pytest.mark.long]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def site(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_MAX_CONCURRENT": "4", "CLAUDE_PROXY_WARM_WORKERS": "2"}
    if request.param == "postgres":
        env["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    gateway = GatewayProcess(tmp_path_factory.mktemp("billing"), upstream=stand_in.base_url, env=env).start()
    absurd = {name: {"concurrent_runs": 1, "budget_total_usd": "1000000"} for name in ABSURD}
    yield Site([gateway], make_keys(gateway, {**KEYS, **absurd}))
    gateway.stop()


def body(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": prompt}], **fields}


def ask(site: Site, name: str, sent: Mapping[str, Any], *, path: str = "messages") -> httpx.Response:
    headers = {"x-api-key": site.secrets[name]}
    return httpx.post(f"{site.first.base_url}/v1/{path}", json=sent, headers=headers, timeout=60)


def operations(site: Site, path: str) -> Any:
    with site.first.http(**{"x-api-key": site.secrets["operator"]}) as client:
        return client.get(path).raise_for_status().json()


def settled(site: Site, name: str, requests: int = 1) -> dict[str, Any]:
    """The key's totals and spending, once they include `requests` requests and nothing is reserved."""

    def complete() -> dict[str, Any] | None:
        found = usage(site.first, site.secrets[name])
        (budget,) = found["budgets"]
        if budget["reserved_usd"] or found["totals"]["requests"] < requests:
            return None
        return {**found["totals"], "spent_usd": budget["spent_usd"]}

    found = eventually(complete, within_s=20)
    assert found is not None
    return found


def test_count_a_tool_input_that_says_image(site: Site) -> None:
    """budget-type-image: twelve at once, of which no two fit into 0.30 USD."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"type": "image", "text": "word " * 100_000}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "[[first=1]]ok"}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(lambda _: ask(site, "image", body("", messages=messages)), range(PARALLEL)))
    assert {answer.status_code for answer in answers} <= {402, 429}
    assert settled(site, "image", 0)["spent_usd"] == 0


def test_count_the_schema_of_an_output_format(site: Site) -> None:
    """budget-output-format: 1 MB of schema for a key with 0.05 USD."""
    schema = {"type": "object", "description": "word " * 200_000}
    answer = ask(site, "schema", body("hi", output_format={"type": "json_schema", "schema": schema}))
    assert answer.status_code == 402


@pytest.mark.parametrize("path", ["messages", "chat/completions", "responses"])
@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 10_000_001, -1, True, 1.5])
def test_refuse_absurd_max_tokens_with_a_limited_key(site: Site, path: str, value: Any) -> None:
    """limited-max-tokens-u64: a 400 that names the field, in both dialects."""
    sent = body("hi", max_tokens=value)
    name = "max_tokens"
    if path == "responses":
        name = "max_output_tokens"
        sent = {"model": MODEL, "input": "hi", name: value}
    answer = ask(site, "minute", sent, path=path)
    assert answer.status_code == 400, answer.text
    assert name in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ABSURD)
def test_free_the_reservation_whatever_the_usage(site: Site, name: str) -> None:
    """settle-negative-usage, settle-absurd-usage: counted within bounds, flagged, and the next request passes."""
    prompt = f"[[say=hi]] [[usage={json.dumps(ABSURD[name])}]]"
    answers = [ask(site, name, body(prompt))]
    after_first = settled(site, name)
    answers.append(ask(site, name, body(prompt)))
    assert [answer.status_code for answer in answers] == [200, 200]
    after_second = settled(site, name, 2)
    for count in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"):
        assert 0 <= after_first[count] <= 10**9
        assert after_second[count] == 2 * after_first[count]
    assert after_first["spent_usd"] > 0
    trace = _trace(site, answers[1].headers["request-id"])
    assert trace["usageEstimated"] is True
    health = operations(site, "/debug/health")["settlements"]
    assert (health["dropped"], health["failing"]) == (0, False)


def test_charge_a_prompt_that_is_broken_off_early(site: Site) -> None:
    """Attack 11: a client that disconnects before the first event is charged for its prompt."""
    sent = body(f"[[first=20]] {'word ' * 12_000}")
    statuses = []
    for _ in range(4):
        try:
            headers = {"x-api-key": site.secrets["early"]}
            answer = httpx.post(f"{site.first.base_url}/v1/messages", json=sent, headers=headers, timeout=3)
            statuses.append(answer.status_code)
        except httpx.ReadTimeout:
            statuses.append(0)
        settled(site, "early", 1)
    assert statuses == [0, 402, 402, 402]
    spent = settled(site, "early", 1)
    assert 0.15 < spent["spent_usd"] <= 0.30
    assert spent["input_tokens"] > 60_000
    rows = operations(site, "/debug/traces?limit=100")
    (trace,) = [row for row in rows if row["key"] == "early" and row["usageEstimated"]]
    assert trace["endReason"] == "client_disconnect"


def _trace(site: Site, request_id: str) -> dict[str, Any]:
    """The trace of a request, once it has ended."""

    def ended() -> dict[str, Any] | None:
        with site.first.http(**{"x-api-key": site.secrets["operator"]}) as client:
            answer = client.get(f"/debug/traces/{request_id}")
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 and found["status"] != "active" else None

    found = eventually(ended, within_s=20)
    assert found is not None
    return found
