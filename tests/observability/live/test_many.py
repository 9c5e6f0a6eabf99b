"""Many requests of many clients at once, in every way in which a request can end: none is lost, miscounted or mistaken.

`TRACE_TEST_REQUESTS=1000` asks more of it.
"""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.observability.test_gateway import FOREIGN_KEY, Observed
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

MAY_BE_LOST_S = float(os.environ.get("TRACE_TEST_LOST_S", "1"))
"""How old the last traces may be that a kill costs; 0.25 s where nothing else uses the processor."""

REQUESTS = int(os.environ.get("TRACE_TEST_REQUESTS", "60"))
CLIENTS = 8
MODEL = "sonnet"

Ask = Callable[[httpx.Client], httpx.Response]


def messages(text: str, *, stream: bool = True, **more: Any) -> Ask:
    body = {"model": MODEL, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": text}]}
    return lambda client: client.post("/v1/messages", json=body | more)


def chat(text: str) -> Ask:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    return lambda client: client.post("/v1/chat/completions", json=body)


def leave(client: httpx.Client) -> httpx.Response:
    body = {"model": MODEL, "max_tokens": 50, "stream": True}
    body["messages"] = [{"role": "user", "content": "[[n=400]] [[gap=0.05]]"}]
    with client.stream("POST", "/v1/messages", json=body) as response:
        next(response.iter_bytes())
        return response


def nobody(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/messages", json={}, headers={"x-api-key": FOREIGN_KEY})


OUTCOMES: Sequence[tuple[str, Ask]] = (
    ("completed", messages("[[n=9]] [[out=9]]")),
    ("completed", messages("[[n=4]] [[out=4]] [[tool=look:{}]]", stream=False)),
    ("completed", chat("[[n=3]] [[in=70]]")),
    ("completed", messages("[[n=30]] [[stop=max_tokens]]")),
    ("upstream_error", messages("[[status=429]]")),
    ("upstream_error", messages("[[status=400]]", stream=False)),
    ("upstream_error", messages("[[miderror=3]]")),
    ("upstream_error", messages("[[cut=3]]")),
    ("client_disconnect", leave),
    ("refused", nobody),
    ("refused", messages("x", model=5)),
    ("refused", lambda client: client.post("/v1/messages", content=b"{no")),
)


class Load:
    """The clients, and what each of their requests came to: when it was over, and how its trace should say it ended."""

    def __init__(self, gateway: Observed) -> None:
        self._gateway = gateway
        self.over_at: dict[str, float] = {}
        self.reasons: dict[str, str] = {}

    def run(self, count: int, *, kill_after: int | None = None) -> None:
        """Asks so many requests, in a random order. kill_after: and kills the gateway once so many are over."""
        jobs = [OUTCOMES[number % len(OUTCOMES)] for number in range(count)]
        random.shuffle(jobs)
        before = len(self.over_at)
        with ThreadPoolExecutor(CLIENTS) as pool:
            asked = [pool.submit(self._ask, *job) for job in jobs]
            if kill_after is not None:
                eventually(lambda: len(self.over_at) - before >= kill_after, within_s=120)
                os.kill(self._gateway.process.pid, signal.SIGKILL)
                self.killed_at = time.time()
        if kill_after is None:
            for future in asked:
                future.result()

    def _ask(self, reason: str, ask: Ask) -> None:
        with self._gateway.process.http() as client:
            response = ask(client)
        self.reasons[response.headers["request-id"]] = reason
        self.over_at[response.headers["request-id"]] = time.time()


@pytest.fixture
def gateway(stand_in: StandInProcess, tmp_path: Path) -> Iterator[Observed]:
    env = {"CLAUDE_PROXY_MAX_CONCURRENT": "3", "CLAUDE_PROXY_QUEUE_TIMEOUT_MS": "120000"}
    process = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    yield Observed(process)
    process.stop()


def rows_of(gateway: Observed) -> dict[str, Any]:
    """Every trace, by id."""
    rows: list[dict[str, Any]] = []
    with gateway.operator() as client:
        path: str | None = "/debug/traces?limit=200"
        while path:
            response = client.get(path).raise_for_status()
            rows += response.json()
            path = response.links["next"]["url"] if "next" in response.links else None
    assert len(rows) == len({row["reqId"] for row in rows})
    return {row["reqId"]: row for row in rows}


def metrics_of(gateway: Observed) -> dict[str, Counter[str]]:
    """Requests by how they ended, and tokens by their kind."""
    with gateway.operator() as client:
        text = client.get("/metrics").raise_for_status().text
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
        for name, label in (("requests", "end_reason"), ("tokens", "kind")):
            if sample.name == f"claude_proxy_{name}_total" and sample.value:
                found[name][sample.labels[label]] += int(sample.value)
    return found


def test_keep_rows_of_many_requests_through_a_kill(gateway: Observed) -> None:
    gateway.get("/debug/health")  # a key that worked once still does after many wrong ones from the same address
    load = Load(gateway)
    load.run(REQUESTS)
    eventually(lambda: not gateway.get("/debug/active")["activeRequests"], within_s=60)
    eventually(lambda: not gateway.get("/debug/traces?status=active"), within_s=20)
    rows, metrics = rows_of(gateway), metrics_of(gateway)
    assert {name: row["endReason"] for name, row in rows.items()} == load.reasons
    assert len(rows) == REQUESTS
    for row in rows.values():
        times = list(row["phases"].values())
        assert times == sorted(times), row
        assert len(times) == 8 or row["endReason"] != "completed"
    totals = gateway.get("/debug/stats")["requests"]
    assert (totals["total"], totals["errors"]) == (REQUESTS, sum(row["status"] == "error" for row in rows.values()))
    assert metrics["requests"] == Counter(load.reasons.values())
    for ours, theirs in (("input", "input_tokens"), ("output", "output_tokens")):
        tokens = sum(row["usage"][theirs] for row in rows.values())
        assert metrics["tokens"][ours] == totals["usage"][theirs] == tokens

    load.run(REQUESTS, kill_after=REQUESTS // 2)
    gateway.process.stop()
    gateway.process.start()
    rows = rows_of(gateway)
    lost = {name: load.killed_at - at for name, at in load.over_at.items() if name not in rows}
    late = {
        name: load.killed_at - load.over_at[name]
        for name, reason in load.reasons.items()
        if name in rows and rows[name]["endReason"] != reason
    }
    print(f"killed: {len(rows)} rows; seconds before it, lost: {[*lost.values()]}, interrupted: {[*late.values()]}")
    assert max([*lost.values(), *late.values()], default=0.0) < MAY_BE_LOST_S
    assert {rows[name]["endReason"] for name in late} <= {"interrupted"}
    assert {row["endReason"] for name, row in rows.items() if name not in load.reasons} <= {"interrupted"}
    assert len(rows) > REQUESTS + REQUESTS // 2 - len(lost) - 1
