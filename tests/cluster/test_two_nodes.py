"""Two nodes with two processes each: correct sums, full visibility from each node, survival of a dead node."""

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.cluster.nodes import Hanging, Node, secrets_of
from tests.limits.gateways import ask_many, manage
from tests.support.postgres import empty_database
from tests.support.processes import children_of, is_alive
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

CLIENTS = 8
EACH = 6

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.long]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with empty_database() as url:
        yield url


@pytest.fixture(scope="module")
def both(
    stand_in: StandInProcess, database: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Node, Node]]:
    env = {"DATABASE_URL": database, "REDIS_URL": redis_url, "CLAUDE_PROXY_API_KEY": f"sk-{secrets.token_hex(16)}"}
    a, b = (
        Node(name, tmp_path_factory.mktemp(name), upstream=stand_in.base_url, env=env) for name in ("north", "south")
    )
    try:
        a.gateway.start()
        b.gateway.start()
        a.password = b.password = a.gateway.first_login().password
        a.secrets = b.secrets = secrets_of(a)
        yield a, b
    finally:
        for node in (a, b):
            if hasattr(node.gateway, "process"):
                node.gateway.stop()


@pytest.fixture
def nodes(both: tuple[Node, Node]) -> tuple[Node, Node]:
    """Both nodes running; restarts one that an earlier test killed."""
    a, b = both
    if not is_alive(a.gateway.pid):
        a.gateway.stop()
        a.gateway.start()
    eventually(lambda: len(b.get("/debug/health")["processes"]) == 4, within_s=30)
    return a, b


async def test_under_load_traces_usage_and_metrics_are_what_was_sent(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    before = a.metric("claude_proxy_requests_total") + b.metric("claude_proxy_requests_total")
    used_before = a.get("/v1/usage", "load")["totals"]["requests"]
    asked = await ask_many([a.gateway, b.gateway], a.secrets["load"], "[[n=3]]", clients=CLIENTS, each=EACH)
    sent = CLIENTS * EACH

    assert asked.statuses == {200: sent}
    ids = {response.headers["request-id"] for response in asked.responses}
    eventually(lambda: a.get("/v1/usage", "load")["totals"]["requests"] == used_before + sent, within_s=20)
    traces = eventually(lambda: _ended(b, ids), within_s=20) or []
    assert {trace["status"] for trace in traces} == {"completed"}
    assert {trace["node"] for trace in traces} == {"north", "south"}
    eventually(
        lambda: a.metric("claude_proxy_requests_total") + b.metric("claude_proxy_requests_total") - before == sent,
        within_s=20,
    )
    assert a.metric("claude_proxy_processes") == 2
    assert "agree" in await asyncio.to_thread(manage, a.gateway, "checkusage", "--days=1")


def _ended(node: Node, ids: set[str]) -> list[dict[str, str]]:
    traces = [trace for trace in node.get("/debug/traces?limit=200") if trace["reqId"] in ids]
    return traces if len(traces) == len(ids) and all(trace["status"] != "active" for trace in traces) else []


def signed_in(node: Node) -> httpx.Client:
    """HTTP client with a browser session."""
    client = httpx.Client(base_url=node.url, follow_redirects=True, timeout=30)
    client.get("/admin/login/")
    form = {"username": "admin", "password": node.password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    client.post("/admin/login/", data=form, headers={"referer": f"{node.url}/admin/login/"}).raise_for_status()
    return client


def shown_with_both(browser: httpx.Client, theirs: Hanging, own: Hanging) -> dict[str, Any]:
    """Content of the workers page; {} until it shows both requests and the worker of `theirs`."""
    page = browser.get("/dashboard/workers").raise_for_status().text
    found = re.search(r'<script id="snapshot" type="application/json">(.*?)</script>', page)
    assert found is not None
    snapshot: dict[str, Any] = json.loads(found[1])
    runs = {run["id"]: run["node"] for run in snapshot["runs"]}
    complete = runs == {theirs.id: "north", own.id: "south"} and theirs.id in {it["run"] for it in snapshot["workers"]}
    return snapshot if complete else {}


def test_show_and_end_requests_of_both_nodes_on_each(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    prompt = "[[n=2]] [[midhang=1]]"
    theirs, own = Hanging(a, "load", prompt).wait_for_begin(), Hanging(b, "load", prompt).wait_for_begin()

    def active() -> dict[str, str]:
        return {it["reqId"]: it["node"] for it in b.get("/debug/active")["activeRequests"]}

    eventually(lambda: active() == {theirs.id: "north", own.id: "south"}, within_s=10)
    nodes_seen = ["north", "north", "south", "south"]
    # Either process of b may answer, and their peer states are up to two seconds old.
    eventually(lambda: sorted(it["node"] for it in b.get("/debug/health")["processes"]) == nodes_seen, within_s=10)
    queue = {"active": 2, "waiting": 0, "max": 8}
    eventually(lambda: b.get("/debug/stats")["queue"] == {**queue, "byEngine": {"sdk": queue}}, within_s=10)
    with contextlib.closing(signed_in(b)) as browser:
        snapshot = eventually(lambda: shown_with_both(browser, theirs, own), within_s=10)
        processes = b.get("/debug/health")["processes"]
        assert {row["process"] for row in snapshot["processes"]} == {f"{it['node']}:{it['pid']}" for it in processes}
        (worker,) = [it for it in snapshot["workers"] if it["run"] == theirs.id]
        token = {"x-csrftoken": browser.cookies["csrftoken"], "referer": b.url}
        assert browser.post(f"/dashboard/workers/{worker['id']}/retire", headers=token).status_code == 202
        assert browser.post(f"/dashboard/requests/{theirs.id}/cancel", headers=token).status_code == 202
    assert b.post(f"/debug/active/{own.id}/cancel").status_code == 202
    for request in (theirs, own):
        request.join(20)
        assert not request.is_alive()
    eventually(lambda: not active(), within_s=10)
    assert a.get(f"/debug/traces/{theirs.id}")["endReason"] == "cancelled"
    # Peer states are up to two seconds old, and each of the two processes of b has its own.
    eventually(lambda: b.post(f"/debug/active/{theirs.id}/cancel").status_code == 404, within_s=10)
    eventually(lambda: not psutil.pid_exists(worker["pid"]), within_s=20, why="the retired worker")


def test_reject_revoked_key_in_every_process_within_5_s(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    models = [httpx.Client(base_url=b.url, headers={"x-api-key": b.secrets["revoked"]}) for _ in range(6)]
    assert {client.get("/v1/models").status_code for client in models} == {200}
    manage(
        a.gateway,
        "shell",
        "-c",
        "from apiproxy.models import ApiKey; from django.utils import timezone; "
        "ApiKey.objects.filter(name='revoked').update(revoked_at=timezone.now())",
    )
    eventually(lambda: {client.get("/v1/models").status_code for client in models} == {401}, within_s=6)
    for client in models:
        client.close()


def test_lose_only_requests_of_killed_node(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    lost = [Hanging(a, "few", "[[n=2]] [[midhang=1]]").wait_for_begin() for _ in range(2)]
    kept = Hanging(b, "load", "[[n=60]] [[gap=0.2]]").wait_for_begin()
    assert b.post("/v1/messages", "few", **_body()).status_code == 429
    for request in lost:  # rows are written asynchronously; unwritten ones are lost with the node
        eventually(lambda it=request.id: _is_written(b, it), within_s=10)  # type: ignore[misc]  # bound now
    below = children_of(a.gateway.process.pid)
    a.gateway.process.kill()

    for request in lost:
        request.join(20)
        assert request.failure is not None or "event: error" in request.text
    eventually(lambda: not [it for it in below if is_alive(it.pid)], within_s=10, why="processes without a supervisor")
    eventually(lambda: len(b.get("/debug/health")["processes"]) == 2, within_s=10)
    assert b.post("/v1/messages", "load", **_body()).status_code == 200
    for request in lost:
        trace = eventually(lambda it=request.id: _over(b, it), within_s=30)  # type: ignore[misc]  # bound now
        assert trace is not None
        assert (trace["status"], trace["endReason"], trace["node"]) == ("interrupted", "interrupted", "north")
    eventually(lambda: b.post("/v1/messages", "few", **_body()).status_code == 200, within_s=10)
    kept.join(60)
    assert "event: message_stop" in kept.text


def _is_written(node: Node, trace_id: str) -> bool:
    return trace_id in {trace["reqId"] for trace in node.get("/debug/traces?limit=50")}


def _over(node: Node, trace_id: str) -> dict[str, str]:
    trace: dict[str, str] = node.get(f"/debug/traces/{trace_id}")
    return trace if trace["status"] != "active" else {}


def _body() -> dict[str, object]:
    return {
        "model": "claude-sonnet-5", "max_tokens": 20,
        "messages": [{"role": "user", "content": f"[[n=1]] {secrets.token_hex(4)}"}],
    }  # fmt: skip
