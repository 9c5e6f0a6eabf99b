"""The dashboard's pages: who may see them, what they cost, what they say."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Streamed
from apiproxy.models import Session, Usage
from observability.dashboard.waterfall import waterfall
from observability.models import Trace
from observability.service import Config, Service
from observability.stats.rollup import Sums
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.store import Record, Store, write_sums, write_traces
from observability.tracing.synthetic import synthetic_traces
from tests.observability.builders import (
    NOW,
    Gateway,
    course,
    draft_of,
    failed,
    finished,
    make_turn,
    message_start,
    opening,
    refused,
    serve,
)
from tests.observability.dashboards import make_key, make_user, set_demo

pytestmark = pytest.mark.django_db

MAX_QUERIES = 15
PAGES = (
    "/dashboard/", "/dashboard/charts?window=7d", "/dashboard/requests", "/dashboard/requests?status=error&span=24h",
    "/dashboard/errors?span=all", "/dashboard/sessions", "/dashboard/workers", "/dashboard/usage?days=90",
    "/dashboard/logs",
)  # fmt: skip
LOOK = ("view_trace",)
ACTIONS = ("/dashboard/requests/req_x/cancel", "/dashboard/workers/w1/retire", "/dashboard/demo")


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(cancellable={"req_x"}, retirable={"w1"})


@pytest.fixture
def service(gateway: Gateway, tmp_path: Path, settings: Settings) -> Service:
    settings.ALLOWED_HOSTS = ["testserver"]
    set_demo(settings, False)
    return serve(Service(gateway, Config(log_dir=tmp_path, retention_days=30)))


@pytest.fixture
def admin(client: Client, service: Service) -> Client:
    client.force_login(make_user(superuser=True))
    return client


@pytest.fixture
def viewer(client: Client, service: Service) -> Client:
    client.force_login(make_user(permissions=LOOK))
    return client


def fill(count: int = 300) -> None:
    traces = list(synthetic_traces(count, days=1, until=datetime.now(UTC) - timedelta(minutes=5), seed=1))
    sums = Sums()
    for trace in traces:
        sums.add(trace, at=trace["finished_at"].timestamp(), model=trace["model"], fine=False)
    write_traces(traces)
    write_sums(sums)


def text_of(client: Client, path: str, **headers: str) -> str:
    response = client.get(path, headers=headers)
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    return response.content.decode()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("rows", [0, 300])
def test_bound_queries_of_every_page(admin: Client, path: str, rows: int) -> None:
    if rows:
        fill(rows)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        text_of(admin, path)
    assert len(queries) <= MAX_QUERIES


@pytest.mark.parametrize("path", PAGES)
def test_redirect_anonymous_user_to_login(client: Client, service: Service, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/?next=/dashboard/")


@pytest.mark.parametrize("path", PAGES)
def test_answer_script_without_login_with_401(client: Client, service: Service, path: str) -> None:
    assert client.get(path, headers={"x-requested-with": "fetch"}).status_code == 401


@pytest.mark.parametrize(
    ("staff", "permissions"),
    [(False, LOOK), (True, ()), (True, ("cancel_run",))],
    ids=["no staff", "none", "cancel only"],
)
def test_hide_pages_without_view_permission(
    client: Client, service: Service, staff: bool, permissions: tuple[str, ...]
) -> None:
    client.force_login(make_user(staff=staff, permissions=permissions))
    for path in PAGES:
        assert client.get(path).status_code == 403
    for path in ACTIONS:
        assert client.post(path).status_code == 403


def test_let_viewer_see_everything_and_change_nothing(viewer: Client, settings: Settings, gateway: Gateway) -> None:
    set_demo(settings, True)
    for path in PAGES:
        text_of(viewer, path)
    assert "data-may-change" not in text_of(viewer, "/dashboard/")
    assert "Fill with demo data</button>" not in text_of(viewer, "/dashboard/")
    for path in ACTIONS:
        assert viewer.post(path).status_code == 403
    assert not gateway.cancelled


def test_let_operator_cancel_and_retire(client: Client, service: Service, gateway: Gateway) -> None:
    client.force_login(make_user(permissions=(*LOOK, "cancel_run")))
    assert client.post(ACTIONS[0]).status_code == 202
    assert gateway.cancelled == ["req_x"]
    assert client.post("/dashboard/requests/req_gone/cancel").status_code == 404
    assert client.post(ACTIONS[1]).status_code == 202
    assert client.post("/dashboard/workers/w9/retire").status_code == 404
    assert client.get(ACTIONS[0]).status_code == 405


def test_reject_action_without_csrf_token(service: Service, gateway: Gateway) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user(superuser=True))
    assert strict.post(ACTIONS[0]).status_code == 403
    assert not gateway.cancelled


def test_demo_data_is_for_demo_mode_only(admin: Client, settings: Settings) -> None:
    assert admin.post("/dashboard/demo").status_code == 404
    assert not Trace.objects.exists()


async def demo_filled(client: AsyncClient) -> dict[str, Any]:
    """The figures that an overview shows which was open before, and right after."""
    for path, method in (("/dashboard/", client.get), ("/dashboard/demo", client.post), ("/dashboard/", client.get)):
        response = await method(path)
        assert response.status_code < 400, response.content
    found = re.search(r'id="snapshot" type="application/json">(.*?)</script>', response.content.decode())
    assert found is not None
    figures: dict[str, Any] = json.loads(found[1])["pulse"]["tiles"]
    return figures


@pytest.mark.django_db(transaction=True)
async def test_demo_data_is_on_the_overview_at_once(service: Service, settings: Settings) -> None:
    set_demo(settings, True)
    client = AsyncClient()
    await client.aforce_login(await sync_to_async(make_user)(superuser=True))
    assert (await demo_filled(client))["error_rate"] is not None


def test_explain_empty_dashboard(admin: Client, settings: Settings) -> None:
    assert "Create an API key" in text_of(admin, "/dashboard/")
    assert "No requests yet." in text_of(admin, "/dashboard/requests")
    assert "No requests match these filters." in text_of(admin, "/dashboard/requests?model=none")
    assert "No errors in this period." in text_of(admin, "/dashboard/errors")
    assert "No sessions yet." in text_of(admin, "/dashboard/sessions")
    assert "No keys yet." in text_of(admin, "/dashboard/usage")
    set_demo(settings, True)
    assert "Fill with demo data" in text_of(admin, "/dashboard/")
    traces = "/admin/observability/trace/"
    assert "No traces yet." in admin.get(traces).content.decode()
    assert "Show all traces" in admin.get(f"{traces}?q=req_none").content.decode()


@pytest.mark.parametrize("path", ["/dashboard/none", "/admin/none/", "/admin/auth/user/"])
def test_answer_missing_page_as_html_or_json_by_client(viewer: Client, path: str) -> None:
    response = viewer.get(path, headers={"accept": "text/html,*/*;q=0.8"})
    assert response.status_code == (403 if "auth" in path else 404)
    assert "Back to the overview" in response.content.decode()
    assert viewer.get(path).json()["error"]["message"] in ("Not Found", "Forbidden")


def test_leave_closing_phase_of_running_answer_open() -> None:
    times = {"received": 10.0, "first_token": 11.0, "last_event": 12.0}
    bars = {bar.name: bar for bar in waterfall(times, now=14.0).bars}
    assert (bars["Streaming"].length_ms, bars["Streaming"].going) == (3000.0, True)
    assert "Closing" not in bars
    assert "Closing" in {bar.name for bar in waterfall({**times, "finished": 13.0}, now=14.0).bars}


def test_page_history_completely_without_duplicates(admin: Client) -> None:
    fill(120)
    seen: list[str] = []
    text = text_of(admin, "/dashboard/requests")
    while True:
        seen += [part.split('"')[0] for part in text.split('title="req_')[1:]]
        if 'hx-get="' not in text:
            break
        address = text.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
        text = text_of(admin, address, **{"hx-request": "true"})
        assert "<html" not in text
    assert len(seen) == len(set(seen)) == 120
    assert "End of the list." in text


@pytest.mark.parametrize("query", ["cursor=nonsense", "until=never", f"q={'x' * 300}", "q=%00"])
def test_reject_unreadable_filter(admin: Client, query: str) -> None:
    assert admin.get(f"/dashboard/requests?{query}").status_code == 400


def test_search_requests_by_id_prefix_key_and_session(admin: Client) -> None:
    fill(200)
    trace = Trace.objects.exclude(conversation_id=None).first()
    assert trace is not None
    for text in (trace.pk, trace.key_label.upper(), trace.conversation_id):
        assert trace.pk in text_of(admin, f"/dashboard/requests?q={text}")
    assert trace.pk not in text_of(admin, "/dashboard/requests?q=another-session")


def keep(*events: Any, **turn: Any) -> str:
    draft = draft_of(make_turn(**turn), events)
    store = Store(node="here", redactor=Redactor(), names=ModelNames())
    store.write([Record(draft, final=True)])
    return draft.id


def answered_by_http(**turn: Any) -> str:
    streamed = Streamed(NOW + 0.3, [message_start()], headers={"x-upstream-request-id": "req_011upstream"})
    return keep(*opening(), streamed, finished(), engine="http", **turn)


def test_filter_requests_by_engine(admin: Client) -> None:
    http, sdk = answered_by_http(), keep(*course())
    assert 'name="engine"' in text_of(admin, "/dashboard/requests")
    for engine, shown, hidden in (("http", http, sdk), ("sdk", sdk, http)):
        text = text_of(admin, f"/dashboard/requests?engine={engine}")
        assert shown in text
        assert hidden not in text


def test_find_request_by_upstream_id_and_claude_session(admin: Client) -> None:
    trace_id = answered_by_http(headers={"x-claude-code-session-id": "5f6e-session"})
    other = keep(*course())
    for text in ("req_011upstream", "5f6e-session"):
        page = text_of(admin, f"/dashboard/requests?q={text}")
        assert trace_id in page
        assert other not in page
    assert "No requests match" in text_of(admin, "/dashboard/requests?q=req_011upstream&status=error")


def test_show_engine_and_ids_of_request(admin: Client) -> None:
    headers = {
        "x-claude-code-session-id": "5f6e-session",
        "x-claude-code-agent-id": "agent-2",
        "x-claude-code-parent-agent-id": "agent-1",
    }
    text = text_of(admin, f"/dashboard/requests/{answered_by_http(headers=headers)}")
    for shown in ("<dd>http</dd>", "req_011upstream", "session 5f6e-session", "agent agent-2", "of agent-1"):
        assert shown in text
    text = text_of(admin, f"/dashboard/requests/{keep(*course())}")
    assert "<dd>sdk</dd>" in text
    assert "Claude Code" not in text


def test_show_refusal_reason_and_tiny_cost_in_list(admin: Client) -> None:
    keep(refused(kind=FailureKind.RATE_LIMITED))
    Trace.objects.filter(pk=keep(*course())).update(cost_micro_usd=4)
    text = text_of(admin, "/dashboard/requests")
    assert "rate limited" in text
    assert "&lt;$0.0001" in text


def test_show_error_dump_and_timing_of_failed_request(admin: Client) -> None:
    trace_id = keep(*course(ending=failed(stderrTail="the last words")))
    text = text_of(admin, f"/dashboard/requests/{trace_id}")
    for shown in ("upstream error", "Overloaded", "529", "the last words", "Error dump", "Streaming", "Not stored"):
        assert shown in text


def test_copy_stored_body_as_curl_without_secret(admin: Client) -> None:
    trace_id = keep(*course(), store_bodies=True)
    text = text_of(admin, f"/dashboard/requests/{trace_id}")
    assert "curl http://testserver/v1/messages" in text
    assert "$GATEWAY_KEY" in text


def test_show_running_request_with_cancel_button(admin: Client, service: Service) -> None:
    turn = make_turn()
    for event in opening():
        service.recorder.on_event(turn, event)
    text = text_of(admin, f"/dashboard/requests/{turn.id}")
    assert f'data-cancel="{turn.id}"' in text
    assert "worker ready" in text


def test_neighbours_in_a_session_are_linked(admin: Client) -> None:
    ids = [
        keep(*course(at), at=at, conversation_id="talk") for at in (1_790_000_000.0, 1_790_000_100.0, 1_790_000_200.0)
    ]
    text = text_of(admin, f"/dashboard/requests/{ids[1]}")
    assert f"/dashboard/requests/{ids[0]}" in text
    assert f"/dashboard/requests/{ids[2]}" in text
    assert "Turn 2" in text


def test_report_unknown_request(admin: Client) -> None:
    response = admin.get("/dashboard/requests/req_none")
    assert response.status_code == 404
    assert b"No request has the id" in response.content


def test_logs_are_filtered_and_links_lead_to_requests(admin: Client, service: Service) -> None:
    lines = (
        '{"ts":"2026-01-01T10:00:00Z","level":"info","event":"queue.acquired","reqId":"req_abcdefghijkl","waitMs":3}\n'
        '{"ts":"2026-01-01T10:00:01Z","level":"error","event":"it.broke","logger":"x","exception":"Traceback <b>"}\n'
        "not json\n"
    )
    (service.config.log_dir / "proxy-2026-01-01.log").write_text(lines)
    text = text_of(admin, "/dashboard/logs")
    assert "/dashboard/requests/req_abcdefghijkl" in text
    assert "Traceback &lt;b&gt;" in text
    assert "not json" in text
    only = text_of(admin, "/dashboard/logs?level=error", **{"x-requested-with": "fetch"})
    assert "it.broke" in only
    assert "queue.acquired" not in only
    assert admin.get("/dashboard/logs?file=../db.sqlite3").status_code == 404


def use(key_id: int, label: str, cost: float, *, days_ago: int = 0, **counts: int) -> None:
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    Usage.objects.create(
        key_id=key_id, key_label=label, model="sonnet", day=day, cost_micro_usd=round(cost * 1e6), **counts
    )


def test_usage_is_shown_against_the_budgets(admin: Client) -> None:
    key = make_key("team", budget_day_usd=10, budget_total_usd=8)
    used = {"requests": 3, "failures": 1, "input_tokens": 9, "output_tokens": 9, "unpriced": 1}
    use(key.pk, "team", 2.5, **used)
    use(key.pk, "team", 6.5, days_ago=60)
    use(99, "gone", 0.25, **used)
    text = text_of(admin, "/dashboard/usage")
    assert "25 percent spent today" in text
    assert 'data-level="bad"' in text  # nine dollars of eight in all
    assert "$2.75" in text[text.index("All keys") :]
    assert "requests not fully priced" in text
    assert "deleted" in text


def test_usage_names_keys_that_are_out_of_use(admin: Client) -> None:
    make_key("lost", revoked_at=datetime.now(UTC))
    make_key("old", expires_at=datetime.now(UTC) - timedelta(days=1))
    text = text_of(admin, "/dashboard/usage")
    assert "revoked" in text
    assert "expired" in text


def test_list_sessions_by_page_and_find_them_by_id_and_key(admin: Client) -> None:
    now = datetime.now(UTC)
    for number in range(60):
        Session.objects.create(
            key_id=1,
            key_label="team",
            conversation_id=f"talk-{number:02}",
            dialect="anthropic",
            model="sonnet",
            last_used_at=now - timedelta(minutes=number),
        )
    first = text_of(admin, "/dashboard/sessions")
    assert "talk-00" in first
    assert "talk-50" not in first
    address = first.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    second = text_of(admin, address, **{"hx-request": "true"})
    assert "talk-49" not in second
    assert "talk-50" in second
    assert "talk-59" in second
    for found in (text_of(admin, "/dashboard/sessions?q=talk-07"), text_of(admin, "/dashboard/sessions?q=te")):
        assert "talk-07" in found
    assert "talk-08" not in text_of(admin, "/dashboard/sessions?q=talk-07")


@pytest.mark.parametrize("cursor", ["nonsense", "1-", "-", f"{10**30}-1"])
def test_session_cursor_that_is_invalid_is_refused(admin: Client, cursor: str) -> None:
    assert admin.get(f"/dashboard/sessions?cursor={cursor}").status_code == 400


def test_records_in_the_admin_can_be_seen_and_not_changed(admin: Client) -> None:
    trace_id = keep(*course(ending=failed()))
    for name in ("trace", "errordump"):
        listed = admin.get(f"/admin/observability/{name}/")
        assert trace_id in listed.content.decode()
        assert admin.get(f"/admin/observability/{name}/add/").status_code == 403
        page = admin.get(f"/admin/observability/{name}/{trace_id}/change/").content.decode()
        assert 'name="_save"' not in page
        assert f"/dashboard/requests/{trace_id}" in page


def test_without_a_served_gateway_the_pages_say_so(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    client.force_login(make_user(superuser=True))
    assert client.get("/dashboard/").status_code == 503


def test_treat_inactive_user_as_anonymous(viewer: Client) -> None:
    User.objects.update(is_active=False)
    assert viewer.get("/dashboard/").status_code == 302
