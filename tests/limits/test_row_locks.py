"""A lock on one key's row in PostgreSQL, e.g. by a forgotten psql, delays only that key."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from tests.limits.gateways import Site, body, make_keys, usage
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

KEYS: Mapping[str, Mapping[str, Any]] = {
    "locked": {"requests_per_minute": 1000, "budget_total_usd": "10"},
    "other": {"requests_per_minute": 1000, "budget_total_usd": "10"},
    "none": {},
    "operator": {"scopes": ["api", "admin"]},
}
PROMPT_S = 2.5
"""Less than the database timeout of a request (3 s), with a margin for a busy machine."""
pytestmark = [pytest.mark.xdist_group("limits"), pytest.mark.long]


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_WARM_WORKERS": "1", "DATABASE_URL": postgres_url}
    gateway = GatewayProcess(tmp_path_factory.mktemp("locks"), upstream=stand_in.base_url, env=env).start()
    yield Site([gateway], make_keys(gateway, KEYS))
    gateway.stop()


@contextmanager
def locked(postgres_url: str, statement: str, *values: object) -> Iterator[None]:
    with psycopg.connect(postgres_url.replace("postgres://", "postgresql://", 1)) as session:
        session.execute(statement, values)
        yield
        session.rollback()


def ask(site: Site, name: str, prompt: str = "[[say=hi]] [[in=100]] [[out=20]]") -> tuple[httpx.Response, float]:
    """The response and its duration."""
    began = time.monotonic()
    headers = {"x-api-key": site.secrets[name]}
    answer = httpx.post(f"{site.first.base_url}/v1/messages", json=body(prompt), headers=headers, timeout=60)
    return answer, time.monotonic() - began


def test_delay_the_locked_key_alone(site: Site, postgres_url: str) -> None:
    for name in KEYS:
        assert ask(site, name)[0].status_code == 200
    with locked(postgres_url, "SELECT * FROM apiproxy_apikey WHERE name = %s FOR UPDATE", "locked"):
        refused: list[tuple[httpx.Response, float]] = []
        threads = [threading.Thread(target=lambda: refused.append(ask(site, "locked"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        others = [ask(site, name) for _ in range(5) for name in ("other", "none")]
        for thread in threads:
            thread.join()
        others += [ask(site, "other")]
    assert [answer.status_code for answer, _ in refused] == [503] * 3
    assert all(2.5 < took < 8 for _, took in refused), refused
    assert all("Database unavailable" in answer.json()["error"]["message"] for answer, _ in refused)
    assert [answer.status_code for answer, _ in others] == [200] * 11
    assert max(took for _, took in others) < PROMPT_S, others
    eventually(lambda: ask(site, "locked")[0].status_code == 200, within_s=10)
    rested = eventually(lambda: _at_rest(site, "locked"), within_s=10)
    assert rested


def test_settle_a_run_whose_key_was_locked_meanwhile(site: Site, postgres_url: str) -> None:
    before = usage(site.first, site.secrets["locked"])["totals"]["requests"]
    running = threading.Thread(target=ask, args=(site, "locked", "[[say=hi]] [[first=1]]"))
    running.start()
    eventually(lambda: usage(site.first, site.secrets["locked"])["budgets"][0]["reserved_usd"] > 0, within_s=10)
    with locked(postgres_url, "SELECT * FROM apiproxy_apikey WHERE name = %s FOR UPDATE", "locked"):
        running.join()
        assert ask(site, "other")[1] < PROMPT_S
        health = _health(site)["settlements"]
        assert health["pending"] >= 1
        assert health["dropped"] == 0
    eventually(lambda: _at_rest(site, "locked"), within_s=10)
    assert usage(site.first, site.secrets["locked"])["totals"]["requests"] == before + 1


def test_serve_other_keys_while_a_sum_is_locked(site: Site, postgres_url: str) -> None:
    ask(site, "locked")
    eventually(lambda: _at_rest(site, "locked"), within_s=10)
    statement = "SELECT * FROM apiproxy_usage WHERE key_label = %s FOR UPDATE"
    with locked(postgres_url, statement, "locked"):
        assert ask(site, "locked")[0].status_code == 200
        assert all(ask(site, "other")[1] < PROMPT_S for _ in range(4))
    eventually(lambda: _at_rest(site, "locked"), within_s=10)


def _at_rest(site: Site, name: str) -> bool:
    held = usage(site.first, site.secrets[name])["budgets"][0]["reserved_usd"]
    return not held and _health(site)["settlements"]["pending"] == 0


def _health(site: Site) -> dict[str, dict[str, int]]:
    with site.first.http(**{"x-api-key": site.secrets["operator"]}) as client:
        found: dict[str, dict[str, int]] = client.get("/debug/health").raise_for_status().json()
    return found
