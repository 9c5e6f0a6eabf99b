"""GET /debug/… and POST …/cancel: the names that scripts read, who may ask, and what each costs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from pytest_django import Settings

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Streamed
from apiproxy.runs.admission import QueueSnapshot
from observability.debug_api import access
from observability.debug_api import urls as observability_urls
from observability.models import Trace
from observability.permissions import Operator
from observability.service import Config, Service
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.store import Record, Store, write_traces
from observability.tracing.synthetic import synthetic_traces
from tests.observability.builders import (
    NOW,
    Gateway,
    agent_course,
    agent_steps,
    course,
    draft_of,
    failed,
    finished,
    make_agent_turn,
    make_turn,
    message_start,
    opening,
    refused,
    serve,
)

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

urlpatterns = [path("", include(observability_urls))]

PATHS = (
    "/debug/stats", "/debug/traces", "/debug/traces/req_1", "/debug/errors", "/debug/errors/req_1", "/debug/active",
    "/debug/health", "/debug/logs", "/debug/logs/proxy-2026-01-01.log", "/metrics",
)  # fmt: skip


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@dataclass
class Caller:
    """Whom `authorise` finds, in place of keys and logins."""

    operator: Operator | None = field(default_factory=lambda: Operator(name="ops", by="key", may_change=True))
    unsure: ProxyError | None = None

    async def authorise(self, request: HttpRequest) -> Operator | None:
        if self.unsure is not None:
            raise self.unsure
        return self.operator


@pytest.fixture(autouse=True)
def caller(monkeypatch: pytest.MonkeyPatch) -> Caller:
    made = Caller()
    monkeypatch.setattr(access, "authorise", made.authorise)
    return made


@pytest.fixture
def service(gateway: Gateway, tmp_path: Path, settings: Settings) -> Service:
    settings.ALLOWED_HOSTS = ["testserver"]
    return serve(Service(gateway, Config(log_dir=tmp_path, retention_days=30)))


@pytest.fixture
def get(service: Service, client: Client) -> Callable[[str], Any]:
    def read(address: str, status: int = 200) -> Any:
        response = client.get(address)
        assert response.status_code == status, response.content
        assert response["Cache-Control"] == "no-store"
        return json.loads(response.content)

    return read


def store(*drafts: Any) -> None:
    Store(node="here", redactor=Redactor(), names=ModelNames()).write([Record(draft, final=True) for draft in drafts])


def begin(service: Service, **changes: Any) -> str:
    turn = make_turn(**changes)
    for event in opening():
        service.recorder.on_event(turn, event)
    return turn.id


# What they answer


def test_statistics_have_the_names_that_scripts_read(get: Callable[[str], Any], service: Service) -> None:
    store(draft_of(make_turn(), course()), draft_of(make_turn(), [*opening(), failed()]))
    active = begin(service)
    found = get("/debug/stats")

    assert {"version", "config", "queue", "sessions", "uptimeMs", "uptimeHuman", "pid", "memory"} <= found.keys()
    one = {"active": 1, "waiting": 2, "max": 5}
    assert found["queue"] == {**one, "byEngine": {"sdk": one}}
    assert found["upstream"] == {"state": "open", "failuresInARow": 10, "timesGivenUp": 3}
    requests = found["requests"]
    assert (requests["total"], requests["errors"], requests["active"], requests["errorRate"]) == (2, 1, 1, 0.5)
    assert requests["avgDurationMs"] == 1000
    model = found["byModel"]["claude-sonnet-5"]
    assert {
        "total",
        "errors",
        "avgDurationMs",
        "avgTtftMs",
        "maxDurationMs",
        "lastErrorAt",
        "lastErrorReqId",
    } <= model.keys()
    assert model["lastErrorReqId"] == Trace.objects.get(status="error").pk
    assert found["activeRequests"][0]["reqId"] == active
    assert set(found["windows"]) == {"5m", "1h", "24h"}
    assert set(found["windows"]["5m"]["percentiles"]) == {"queueWaitMs", "ttftMs", "durationMs"}
    assert {"p50", "p90", "p99"} <= found["windows"]["5m"]["percentiles"]["ttftMs"].keys()
    assert found["traces"]["dropped"] == 0


def test_name_fields_of_active_request_as_scripts_do(get: Callable[[str], Any], service: Service) -> None:
    trace_id = begin(service)
    found = get("/debug/active")
    (active,) = found["activeRequests"]

    assert found["queue"]["max"] == 5
    assert {
        "reqId", "model", "requestedModel", "phase", "stream", "hasTools", "thinking", "elapsedMs",
        "timeSinceLastEventMs", "lastEventType", "sdkEventCount", "outputLen", "stallCount", "promptLen", "systemLen",
        "bodyBytes", "clientIp",
    } <= active.keys()  # fmt: skip
    assert (active["reqId"], active["phase"], active["promptLen"]) == (trace_id, "worker_ready", 11)
    assert get(f"/debug/traces/{trace_id}")["status"] == "active"


def test_name_fields_of_trace_as_scripts_do(get: Callable[[str], Any]) -> None:
    first = draft_of(make_turn(conversation_id="c"), course())
    second = draft_of(make_turn(at=1_790_000_100.0, conversation_id="c"), course(1_790_000_100.0))
    store(first, second)
    found = get(f"/debug/traces/{second.id}")

    assert found["timings"] == {
        "queueWaitMs": 200, "workerWaitMs": 10, "ttftMs": 400, "ttftFromSdkMs": 189, "sdkDurationMs": 789,
        "totalDurationMs": 1000,
    }  # fmt: skip
    assert found["session"] == {"conversationId": "c", "isResuming": True, "resumeCount": 1}
    assert found["usage"] == {
        "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 40,
    }  # fmt: skip
    assert (found["status"], found["endReason"], found["stopReason"]) == ("completed", "completed", "end_turn")
    assert (found["msgCount"], found["toolCallCount"], found["charsPerSec"]) == (1, 0, 90)
    assert (found["userAgent"], found["error"]) == ("Anthropic/Python 2.12.0", None)
    assert datetime.fromisoformat(found["startedAt"]) == datetime.fromtimestamp(1_790_000_100, UTC)
    assert list(found["phases"]) == [
        "received", "queued", "admitted", "worker_ready", "first_event", "first_token", "last_event", "finished",
    ]  # fmt: skip


def test_sum_queues_over_engines(get: Callable[[str], Any], gateway: Gateway) -> None:
    gateway.own_queues["http"] = QueueSnapshot(active=20, waiting=3, max=1000)
    by_engine = {
        "sdk": {"active": 1, "waiting": 2, "max": 5},
        "http": {"active": 20, "waiting": 3, "max": 1000},
    }
    wanted = {"active": 21, "waiting": 5, "max": 1005, "byEngine": by_engine}
    assert [get(f"/debug/{name}")["queue"] for name in ("stats", "active", "health")] == [wanted] * 3
    assert get("/debug/health")["processes"][0]["queue"] == wanted


def test_name_engine_and_ids_of_request(get: Callable[[str], Any], service: Service) -> None:
    headers = {
        "x-claude-code-session-id": "session-1",
        "x-claude-code-agent-id": "agent-2",
        "x-claude-code-parent-agent-id": "agent-1",
    }
    answered = Streamed(NOW + 0.3, [message_start()], headers={"x-upstream-request-id": "req_011abc"})
    turn = make_turn(engine="http", headers=headers)
    for event in (*opening(), answered):
        service.recorder.on_event(turn, event)
    (active,) = get("/debug/active")["activeRequests"]
    service.recorder.on_event(turn, finished())
    store(draft_of(turn, [*opening(), answered, finished()]), draft_of(make_turn(), [refused()]))
    trace = get(f"/debug/traces/{turn.id}")
    for shown in (active, trace):
        assert (shown["engine"], shown["upstreamRequestId"]) == ("http", "req_011abc")
        ids = ("claudeCodeSessionId", "claudeCodeAgentId", "claudeCodeParentAgentId")
        assert [shown[name] for name in ids] == ["session-1", "agent-2", "agent-1"]
    (rejected,) = get("/debug/traces?status=refused")
    assert (rejected["engine"], rejected["upstreamRequestId"], rejected["claudeCodeAgentId"]) == (None, None, None)
    for query in ("engine=http", "upstreamRequestId=req_011abc", "claudeCodeSessionId=session-1"):
        assert [found["reqId"] for found in get(f"/debug/traces?{query}")] == [turn.id]


def test_errors_are_listed_and_their_dumps_shown(get: Callable[[str], Any]) -> None:
    broken = draft_of(make_turn(), [*opening(), failed(stderrTail="boom")])
    store(broken, draft_of(make_turn(), course()), draft_of(make_turn(), [refused()]))
    (listed,) = get("/debug/errors")

    assert listed["error"] == {
        "type": "upstream_error", "message": "Overloaded", "phase": "worker_ready", "upstreamStatus": 529,
        "upstreamType": "overloaded_error",
    }  # fmt: skip
    dump = get(f"/debug/errors/{broken.id}")
    assert (dump["reqId"], dump["dump"]["diagnostics"]["stderrTail"]) == (broken.id, "boom")


@pytest.mark.parametrize("address", ["/debug/traces/req_none", "/debug/errors/req_none"])
def test_name_missing_object_in_404(address: str, get: Callable[..., Any]) -> None:
    found = get(address, 404)

    assert found["reqId"] == "req_none"
    assert found["error"]


def test_pages_follow_each_other_by_cursor_and_by_link(service: Service, client: Client) -> None:
    write_traces(list(synthetic_traces(45, days=1, until=datetime(2026, 6, 1, tzinfo=UTC), seed=1)))
    ids: list[str] = []
    address: str | None = "/debug/traces?limit=20&status="
    while address:
        response = client.get(address)
        ids += [trace["reqId"] for trace in json.loads(response.content)]
        link = response.get("Link", "")
        address = link[1 : link.index(">")] if link else None

    assert ids == list(Trace.objects.order_by("-received_at", "-id").values_list("pk", flat=True))


def test_filters_narrow_the_list(get: Callable[[str], Any]) -> None:
    store(
        draft_of(make_turn(model="a", key_id=1, conversation_id="s"), course()),
        draft_of(make_turn(model="b", key_id=2), [*opening(), failed()]),
        draft_of(make_turn(model="b", key_id=None), [refused()]),
    )

    assert len(get("/debug/traces")) == 3
    for query in ("model=a", "key=1", "session=s", "status=completed", "endReason=refused", "errorType=upstream_error"):
        assert len(get(f"/debug/traces?{query}")) == 1, query
    assert len(get("/debug/traces?key=team")) == 2
    assert len(get("/debug/traces?since=2026-09-21T00:00:00Z&until=2026-09-22T00:00:00Z")) == 3
    assert get("/debug/traces?until=1000") == []


@pytest.mark.parametrize(
    "query",
    ["limit=x", "limit=-1", "cursor=nonsense", "since=yesterday", "since=1e400", "model=" + "x" * 201, "session=%00",
     "minDurationMs=1.5", "limit=9999999999999"],
)  # fmt: skip
def test_answer_400_naming_invalid_parameter(query: str, get: Callable[..., Any]) -> None:
    assert query.split("=")[0] in get(f"/debug/traces?{query}", 400)["error"]


def test_health_tells_of_process_and_workers(get: Callable[[str], Any]) -> None:
    found = get("/debug/health")

    assert {"version", "pid", "uptimeMs", "uptimeHuman", "memory", "queue", "requests", "config"} <= found.keys()
    assert found["status"] == "ok"
    assert found["memory"]["rssBytes"] > 1_000_000
    assert [worker["pid"] for worker in found["memory"]["workers"]] == [4711, 4712]


def test_logs_are_listed_and_their_ends_read(get: Callable[[str], Any], tmp_path: Path) -> None:
    lines = [json.dumps({"level": "error" if n % 10 == 0 else "info", "event": f"e{n}"}) for n in range(250)]
    (tmp_path / "proxy-2026-01-02.log").write_text("\n".join(lines) + "\n")
    (tmp_path / "secret.txt").write_text("not a log")
    listed = get("/debug/logs")

    assert listed["logDir"] == str(tmp_path)
    assert [file["name"] for file in listed["files"]] == ["proxy-2026-01-02.log"]
    tail = get("/debug/logs/proxy-2026-01-02.log?tail=3")
    assert (tail["file"], tail["total"], tail["returned"], tail["lines"]) == (
        "proxy-2026-01-02.log",
        250,
        3,
        lines[-3:],
    )
    assert len(get("/debug/logs/proxy-2026-01-02.log")["lines"]) == 100
    assert get("/debug/logs/proxy-2026-01-02.log?level=error&tail=2")["lines"] == [lines[230], lines[240]]
    assert get("/debug/logs/proxy-2026-01-02.log?text=E249")["lines"] == [lines[249]]


@pytest.mark.parametrize(
    "name",
    ["../secret", "..%2f..%2fetc%2fpasswd", "%2e%2e/x", "/etc/passwd", "proxy-2026-01-02.log/../x", "secret.txt",
     "proxy-2026-01-02.log%00", "proxy-٢٠٢٦-01-02.log"],
)  # fmt: skip
def test_keep_names_within_log_folder(name: str, get: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not a log")

    assert get(f"/debug/logs/{name}", 400)["error"] == "Not a log file name"


def test_neither_a_link_nor_a_missing_file_is_a_log(get: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not a log")
    (tmp_path / "proxy-2026-01-02.log").symlink_to(tmp_path / "secret.txt")

    assert get("/debug/logs")["files"] == []
    assert get("/debug/logs/proxy-2026-01-02.log", 404)["error"]
    assert get("/debug/logs/proxy-2026-01-03.log", 404)["error"]


def test_metrics_come_in_the_format_that_is_asked_for(service: Service, client: Client) -> None:
    plain = client.get("/metrics")
    modern = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})

    assert plain["Content-Type"].startswith("text/plain")
    assert b"claude_proxy_queue_length 2.0" in plain.content
    assert modern["Content-Type"].startswith("application/openmetrics-text")
    assert modern.content.endswith(b"# EOF\n")


# Who may ask


@pytest.mark.parametrize("address", PATHS)
def test_require_key_or_login_everywhere(address: str, caller: Caller, service: Service) -> None:
    caller.operator = None
    response = Client().get(address)

    assert response.status_code == 401
    assert json.loads(response.content).keys() == {"error"}
    assert Client().get(address, headers={"x-api-key": "of somebody else"}).status_code == 403


def test_cancelling_needs_the_right_to_change(gateway: Gateway, caller: Caller, service: Service) -> None:
    gateway.cancellable = {"req_1"}
    caller.operator = Operator(name="viewer", by="key", may_change=False)

    assert Client().post("/debug/active/req_1/cancel").status_code == 403
    assert gateway.cancelled == []
    caller.operator = Operator(name="ops", by="key", may_change=True)
    assert Client(enforce_csrf_checks=True).post("/debug/active/req_1/cancel").status_code == 202
    assert Client().post("/debug/active/req_2/cancel").status_code == 404
    assert gateway.cancelled == ["req_1", "req_2"]


def test_require_csrf_token_for_cancel_by_login(gateway: Gateway, caller: Caller, service: Service) -> None:
    gateway.cancellable = {"req_1"}
    caller.operator = Operator(name="staff", by="login", may_change=True)
    client = Client(enforce_csrf_checks=True)

    assert client.post("/debug/active/req_1/cancel").status_code == 403
    assert gateway.cancelled == []
    token = "a" * 32
    client.cookies["csrftoken"] = token
    assert client.post("/debug/active/req_1/cancel", headers={"x-csrftoken": token}).status_code == 202


@pytest.mark.parametrize("address", PATHS)
def test_reading_is_by_get_only(address: str, service: Service, client: Client) -> None:
    response = client.post(address)

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


def test_cancelling_is_by_post_only(service: Service, client: Client) -> None:
    assert client.get("/debug/active/req_1/cancel").status_code == 405


@pytest.mark.parametrize(
    ("kind", "status"),
    [(FailureKind.DATABASE_UNAVAILABLE, 503), (FailureKind.RATE_LIMITED, 429)],
    ids=lambda it: str(it),
)
def test_where_nobody_can_say_who_asks_another_try_may_help(
    caller: Caller, service: Service, client: Client, kind: FailureKind, status: int
) -> None:
    caller.unsure = ProxyError(kind, "Not now.", retry_after_s=1.2)
    response = client.get("/debug/stats")

    assert (response.status_code, response["Retry-After"], response.json()) == (status, "2", {"error": "Not now."})


def test_report_process_that_serves_nothing(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]

    assert client.get("/debug/stats").status_code == 503


# What it costs


@pytest.mark.parametrize(
    ("address", "count"),
    [
        ("/debug/stats", 12),
        ("/debug/traces", 1),
        ("/debug/traces?model=a&key=1", 2),
        ("/debug/errors", 1),
        ("/debug/active", 1),
        ("/debug/health", 2),
        ("/debug/logs", 0),
        ("/metrics", 1),
    ],
)
def test_answer_with_fixed_number_of_queries(address: str, count: int, service: Service, client: Client) -> None:
    store(*(draft_of(make_turn(), [*opening(), failed()]) for _ in range(15)))
    with CaptureQueriesContext(connection) as captured:
        response: HttpResponse = client.get(address)  # type: ignore[assignment]

    assert response.status_code == 200
    assert len(captured) == count


def test_query_twice_for_trace_with_session(service: Service, client: Client) -> None:
    draft = draft_of(make_turn(conversation_id="c"), course())
    store(draft)
    with CaptureQueriesContext(connection) as captured:
        client.get(f"/debug/traces/{draft.id}")

    assert len(captured) == 2


@pytest.mark.parametrize("address", ["/debug/traces/a%00b", "/debug/errors/%00", "/debug/traces/" + "x" * 5_000])
def test_answer_not_found_to_id_no_database_accepts(address: str, get: Callable[..., Any]) -> None:
    assert get(address, 404)["error"]


def keep_agent_run() -> str:
    draft = draft_of(make_agent_turn(), agent_course())
    Store(node="here", redactor=Redactor(), names=ModelNames()).write([Record(draft, final=True)])
    return draft.id


def test_answer_trace_of_agent_with_its_steps(client: Client, service: Service) -> None:
    trace = client.get(f"/debug/traces/{keep_agent_run()}").json()
    assert (trace["agent"], trace["modelCallCount"], trace["toolCallCount"]) == ("support-bot@3", 2, 2)
    assert trace["stepsOmitted"] == 0
    assert trace["steps"][0] == {
        "id": "m1", "parentId": None, "kind": "model_call", "name": "claude-sonnet-5", "modelCall": 1,
        "startedAt": "2026-09-21T14:13:20.300000+00:00", "durationMs": 200.0, "failed": False, "error": None,
        "usage": {
            "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 0,
        },
        "costUsdEstimate": 0.01,
    }  # fmt: skip
    assert [(one["name"], one["failed"]) for one in trace["steps"][1:3]] == [
        ("handbook/search", False), ("tickets/note", True),
    ]  # fmt: skip
    assert "steps" not in client.get("/debug/traces").json()[0]


def test_answer_running_agent_with_its_steps(client: Client, service: Service) -> None:
    turn = make_agent_turn()
    for event in [*opening(), *agent_steps()[:4]]:
        service.recorder.on_event(turn, event)
    (run,) = client.get("/debug/active").json()["activeRequests"]
    assert run["agent"] == {
        "name": "support-bot@3", "modelCall": 1, "maxModelCalls": 12, "runningToolCalls": 2, "toolCallCount": 2,
        "step": {"kind": "tool_call", "name": "tickets/note"}, "costUsdEstimate": 0.01,
    }  # fmt: skip
    trace = client.get(f"/debug/traces/{turn.id}").json()
    assert [(one["id"], one["durationMs"]) for one in trace["steps"]] == [("m1", 200.0), ("t1", None), ("t2", None)]


def test_filter_traces_by_agent_and_sum_by_agent(client: Client, service: Service) -> None:
    run_id = keep_agent_run()
    for agent in ("support-bot", "support-bot@3"):
        assert [one["reqId"] for one in client.get(f"/debug/traces?agent={agent}").json()] == [run_id]
    assert client.get("/debug/traces?agent=support-bot@1").json() == []
    assert client.get("/debug/stats").json()["byAgent"]["support-bot"]["total"] == 1
