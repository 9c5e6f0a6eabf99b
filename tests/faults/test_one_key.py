"""One key's bad requests refuse nothing to another key: the cases of an attack, on a whole gateway."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from apiproxy.core.turns import EngineName
from bench.badkey import measure
from bench.badkinds import KINDS
from tests.faults.support import MODEL, Prepared, Seen, Watched, settings_of
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

FAILURES = 3
SLOTS = 2
PLACES = 6
FORMAT = {"type": "json_schema", "schema": {"type": "object"}}
UNSENDABLE: dict[str, dict[str, Any]] = {
    "breaker-both-formats": {"output_format": FORMAT, "output_config": {"format": FORMAT}},
    "breaker-tools-object": {"tools": {"a": 1}},
}


@pytest.fixture(scope="module")
def watched(
    engine: EngineName, prepared: Prepared, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    env = {
        **settings_of(engine, slots=SLOTS),
        "CLAUDE_PROXY_UPSTREAM_RETRIES": "1",
        "CLAUDE_PROXY_BREAKER_FAILURES": str(FAILURES),
        "CLAUDE_PROXY_BREAKER_OPEN_MS": "2000",
        "CLAUDE_PROXY_QUEUE_MAX": str(PLACES),
    }
    folder = tmp_path_factory.mktemp("one-key")
    process = prepared.put_into(GatewayProcess(folder, upstream=stand_in.base_url, env=env)).start()
    yield Watched(process, prepared.secrets)
    process.stop()


@pytest.fixture(autouse=True)
def closed(watched: Watched) -> None:
    """Closes what an earlier test has opened."""
    eventually(lambda: watched.ask("[[n=1]]").status == 200, within_s=30, why="the breaker closes")


def upstream(watched: Watched) -> dict[str, Any]:
    found: dict[str, Any] = watched.get("/debug/stats")["upstream"]
    return found


def ask_with(watched: Watched, fields: dict[str, Any]) -> Seen:
    messages = [{"role": "user", "content": "hi"}]
    with watched.process.http(**{"x-api-key": watched.keys["unused"]}) as client:
        response = client.post("/v1/messages", json={"model": MODEL, "max_tokens": 32, "messages": messages, **fields})
    return Seen(response.status_code, response.text, response.headers)


@pytest.mark.parametrize("case", UNSENDABLE)
def test_refuse_what_cannot_be_sent_without_the_breaker(watched: Watched, stand_in: StandInProcess, case: str) -> None:
    before = stand_in.mark()
    asked = [ask_with(watched, UNSENDABLE[case]) for _ in range(FAILURES + 2)]

    assert {str(seen) for seen in asked} == {"400 invalid_request_error"}
    assert (upstream(watched)["state"], upstream(watched)["failuresInARow"]) == ("closed", 0)
    assert stand_in.recorded(since=before) == []
    assert watched.ask("[[n=1]]").status == 200


def test_serve_other_keys_despite_one_keys_500s(watched: Watched) -> None:
    """`breaker-upstream-500-by-one-key`"""
    failed = [watched.ask("[[status=500]]", key="unused") for _ in range(FAILURES)]
    refused = watched.ask("[[n=1]]", key="unused")
    other = watched.ask("[[n=1]]")

    assert {seen.status for seen in failed} == {500}, "each was tried twice and is one failure"
    assert (str(refused), refused.retry_after_s > 0) == ("502 api_error", True)
    assert other.status == 200
    assert watched.ask("[[n=1]]", key="unused").status == 200


def test_serve_other_keys_during_slow_probe(watched: Watched) -> None:
    """`breaker-slow-probe`"""
    for _ in range(FAILURES):
        watched.ask("[[status=500]]", key="unused")
    watched.ask("[[status=500]]")
    assert watched.ask("[[n=1]]").status == 502, "two keys have failed"

    def probe() -> int:
        return eventually(lambda: _passed(watched.ask("[[first=12]]", key="unused").status), within_s=60)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(probe)
        eventually(lambda: upstream(watched)["state"] == "probing", within_s=30)
        other = watched.ask("[[n=1]]").status
        assert not slow.done()
        assert other == 200
        assert slow.result() == 200


def _passed(status: int) -> int:
    return 0 if status == 502 else status


def test_keep_one_key_from_filling_queue(watched: Watched) -> None:
    """`queue-one-key`"""
    many = SLOTS + PLACES

    def queue() -> tuple[int, int]:
        found = watched.get("/debug/health")["queue"]
        return found["active"], found["waiting"]

    with ThreadPoolExecutor(many) as pool:
        heavy = [pool.submit(watched.ask, "[[first=6]] [[n=1]]", key="unused") for _ in range(SLOTS)]
        eventually(lambda: queue() == (SLOTS, 0), within_s=30)
        heavy += [pool.submit(watched.ask, "[[n=1]]", key="unused") for _ in range(PLACES)]
        eventually(lambda: queue() == (SLOTS, PLACES), within_s=30)
        assert watched.ask("[[n=1]]").status == 200
        seen = [one.result() for one in heavy]

    assert Counter(str(one) for one in seen) == {"200": many - 1, "529 overloaded_error": 1}
    (gave_way,) = [one for one in seen if one.status == 529]
    assert "replaced" in gave_way.error["message"]
    assert gave_way.retry_after_s > 0


def test_fifty_kinds_of_bad_requests_cost_another_key_nothing(
    engine: EngineName, stand_in: StandInProcess, tmp_path: Path
) -> None:
    """The short form of `python -m bench.badkey`, without its times."""
    gateway = GatewayProcess(
        tmp_path, upstream=stand_in.base_url, env={"CLAUDE_PROXY_BREAKER_FAILURES": "10", "CLAUDE_PROXY_ENGINE": engine}
    ).start()
    try:
        line = asyncio.run(measure(gateway, count=2 * len(KINDS), rate=10, alone=3))
    finally:
        gateway.stop()

    assert line["beside"]["errors"] == {}
    assert line["beside"]["n"] > 0
    assert len(line["statuses"]) == len(KINDS) == 50
    assert not {name for name, statuses in line["statuses"].items() if 0 in statuses or 504 in statuses} - {
        "upstream-504"
    }
