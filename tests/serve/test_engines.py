"""A gateway with the http engine: no CLI processes, and every view names the engine."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"


class Site:
    """A gateway whose default engine is http, and a key of an operator."""

    def __init__(self, process: GatewayProcess) -> None:
        self.process = process
        self.key = make_keys(process, {"operator": {"scopes": ["api", "admin"]}})["operator"]

    def ask(self, model: str) -> str:
        """Id of an answered request."""
        body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
        with self.process.http(**{"x-api-key": self.key}) as client:
            return str(client.post("/v1/messages", json=body).raise_for_status().headers["request-id"])

    def get(self, path: str) -> Any:
        with self.process.http(**{"x-api-key": self.key}) as client:
            return client.get(path).raise_for_status().json()

    def trace(self, request_id: str) -> Any:
        """Trace of the request, once it has been written."""

        def written() -> list[Any]:
            return [trace for trace in self.get(f"/debug/traces?id={request_id}") if trace["finishedAt"]]

        return eventually(written, within_s=20, why=request_id)[0]

    def is_idle(self, path: str, *, slots: int) -> bool:
        """True if the path reports free slots of http alone."""
        queue = {"active": 0, "waiting": 0, "max": slots}
        return bool(self.get(path)["queue"] == {**queue, "byEngine": {"http": queue}})


def set_engine(process: GatewayProcess, model: str, engine: str) -> None:
    with closing(sqlite3.connect(process.state_dir / "db.sqlite3")) as database:
        database.execute("UPDATE apiproxy_model SET engine = ? WHERE id = ?", (engine, model))
        database.commit()


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_HTTP_MAX_CONCURRENT": "30", "CLAUDE_PROXY_MAX_CONCURRENT": "2"}
    process = GatewayProcess(tmp_path_factory.mktemp("engines"), upstream=stand_in.base_url, env=env).start()
    yield Site(process)
    process.stop()


def test_answer_without_cli_processes(site: Site) -> None:
    trace = site.trace(site.ask("sonnet"))
    assert (trace["engine"], trace["workerPid"], trace["status"]) == ("http", None, "completed")
    assert site.process.workers() == []
    for path in ("/", "/debug/stats", "/debug/active", "/debug/health"):
        eventually(partial(site.is_idle, path, slots=30), within_s=10, why=path)


def test_find_trace_by_upstream_request_id(site: Site) -> None:
    trace = site.trace(site.ask("sonnet"))
    assert trace["upstreamRequestId"]
    (found,) = site.get(f"/debug/traces?upstreamRequestId={trace['upstreamRequestId']}")
    assert found["reqId"] == trace["reqId"]


def test_answer_model_through_its_own_engine(stand_in: StandInProcess, tmp_path: Path) -> None:
    process = GatewayProcess(tmp_path, upstream=stand_in.base_url, env={"CLAUDE_PROXY_ENGINE": "http"}).start()
    process.stop()
    set_engine(process, OPUS, "sdk")
    site = Site(process.start())
    try:
        assert process.workers()  # the catalogue's engine is warmed at the start
        assert site.trace(site.ask(OPUS))["engine"] == "sdk"
        assert site.trace(site.ask(SONNET))["engine"] == "http"
        assert set(site.get("/")["queue"]["byEngine"]) == {"sdk", "http"}
    finally:
        process.stop()


def test_refuse_start_where_model_names_unsupported_engine(tmp_path: Path) -> None:
    first = GatewayProcess(tmp_path, upstream=None, env={"CLAUDE_PROXY_ENGINE": "sdk"}).start()
    first.stop()
    set_engine(first, OPUS, "http")
    cloud = {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_REGION": "us-east-1"}
    second = GatewayProcess(tmp_path, upstream=None, env=cloud)
    with pytest.raises(AssertionError, match=r"claude-opus-5-5: the model catalogue names the engine http"):
        second.start()
    third = GatewayProcess(tmp_path, upstream=None, env=cloud | {"CLAUDE_PROXY_ENGINE": "http"})
    with pytest.raises(AssertionError, match=r"CLAUDE_PROXY_ENGINE: 'http' is not allowed here"):
        third.start()
