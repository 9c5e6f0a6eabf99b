"""Pages about agents: the waterfall of a request, arguments and results, filters, the overview."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from apiproxy.core.events import Event, StepKind
from observability.dashboard.step_waterfall import MAX_DEPTH, step_waterfall
from observability.models import StoredBody
from observability.service import Config, Service
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.step_values import StepJson
from observability.tracing.store import Record, Store
from tests.observability.builders import (
    NOW,
    Gateway,
    agent_course,
    agent_steps,
    course,
    draft_of,
    make_agent_turn,
    make_turn,
    opening,
    serve,
    step,
)
from tests.observability.dashboards import make_key, make_user, set_demo

pytestmark = pytest.mark.django_db

MAX_QUERIES = 15


@pytest.fixture
def service(tmp_path: Path, settings: Settings) -> Service:
    settings.ALLOWED_HOSTS = ["testserver"]
    set_demo(settings, False)
    return serve(Service(Gateway(), Config(log_dir=tmp_path, retention_days=30)))


@pytest.fixture
def viewer(client: Client, service: Service) -> Client:
    client.force_login(make_user(permissions=("view_trace",)))
    return client


def keep(*events: Event, final: bool = True, **turn: Any) -> str:
    draft = draft_of(make_agent_turn(**turn), events)
    Store(node="here", redactor=Redactor(), names=ModelNames()).write([Record(draft, final=final)])
    return draft.id


def run_now(service: Service, *events: Event, **turn: Any) -> str:
    started = make_agent_turn(**turn)
    for event in (*opening(), *events):
        service.recorder.on_event(started, event)
    return started.id


def text_of(client: Client, path: str, **headers: str) -> str:
    response = client.get(path, headers=headers)
    assert response.status_code == 200, response.content
    return response.content.decode()


def rows_of(text: str) -> list[tuple[str, str]]:
    """Ids and states of the steps."""
    return re.findall(r'data-key="([^"]+)">\s*<details class="d-step" data-state="(\w+)"', text)


def test_show_steps_of_ended_run(viewer: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        text = text_of(viewer, f"/dashboard/requests/{keep(*agent_course())}")
    assert len(queries) <= MAX_QUERIES
    assert rows_of(text) == [("m1", "done"), ("t1", "done"), ("t2", "failed"), ("m2", "done")]
    assert "2 model calls, 2 tool calls" in text
    assert "1 failed" in text
    assert "?agent=support-bot" in text
    assert "support-bot@3" in text


def test_show_steps_of_running_agent_of_this_process(viewer: Client, service: Service) -> None:
    run_id = run_now(service, *agent_steps()[:4])
    text = text_of(viewer, f"/dashboard/requests/{run_id}", **{"x-requested-with": "fetch"})
    assert rows_of(text) == [("m1", "done"), ("t1", "going"), ("t2", "going")]
    assert "<html" not in text
    assert "$0.0100" in text


def test_show_steps_that_another_process_has_written(viewer: Client) -> None:
    run_id = keep(*opening(), *agent_steps()[:3], final=False)
    assert rows_of(text_of(viewer, f"/dashboard/requests/{run_id}")) == [("m1", "done"), ("t1", "going")]


def test_show_unfinished_steps_of_ended_run(viewer: Client) -> None:
    run_id = keep(*opening(), *agent_steps()[:3], agent_course()[-1])
    text = text_of(viewer, f"/dashboard/requests/{run_id}")
    assert rows_of(text) == [("m1", "done"), ("t1", "unfinished")]
    assert "not ended" in text


def test_show_arguments_and_result_if_the_key_stores_bodies(viewer: Client, service: Service) -> None:
    ended, running = keep(*agent_course(), store_bodies=True), run_now(service, *agent_steps(), store_bodies=True)
    for run_id in (ended, running):
        text = text_of(viewer, f"/dashboard/requests/{run_id}/step?id=t1")
        assert "opening hours" in text
        assert "From 9 to 5" in text
        assert "&quot;type&quot;" not in text


def test_show_no_arguments_of_other_keys(viewer: Client, service: Service) -> None:
    for run_id in (keep(*agent_course()), run_now(service, *agent_steps())):
        text = text_of(viewer, f"/dashboard/requests/{run_id}/step?id=t1")
        assert "opening hours" not in text
        assert "Store bodies" in text


@pytest.mark.parametrize("step_id", ["none", "", "\x00", "x" * 9_000])
def test_answer_for_unknown_step(viewer: Client, step_id: str) -> None:
    run_id = keep(*agent_course(), store_bodies=True)
    assert "No arguments" in text_of(viewer, f"/dashboard/requests/{run_id}/step?id={step_id}")
    assert "Store bodies" in text_of(viewer, f"/dashboard/requests/req_none/step?id={step_id}")


def test_require_login_for_arguments(client: Client, service: Service) -> None:
    run_id = keep(*agent_course(), store_bodies=True)
    assert client.get(f"/dashboard/requests/{run_id}/step?id=t1").status_code == 302
    client.force_login(make_user(name="other"))
    assert client.get(f"/dashboard/requests/{run_id}/step?id=t1").status_code == 403
    assert StoredBody.objects.exists()


def test_filter_requests_by_agent_and_version(viewer: Client) -> None:
    agent, other = keep(*agent_course()), draft_of(make_turn(), course())
    Store(node="here", redactor=Redactor(), names=ModelNames()).write([Record(other, final=True)])
    text = text_of(viewer, "/dashboard/requests")
    assert '<optgroup label="Agents"><option value="support-bot" >' in text
    assert "agent support-bot@3: 2 model calls, 2 tool calls" in text
    for query in ("agent=support-bot", "agent=support-bot@3", "model=support-bot", "engine=agents"):
        found = text_of(viewer, f"/dashboard/requests?{query}")
        assert agent in found, query
        assert other.id not in found
    assert agent not in text_of(viewer, "/dashboard/requests?agent=support-bot@2")
    assert agent not in text_of(viewer, "/dashboard/requests?agent=claude-sonnet-5")


def test_put_running_agents_into_the_snapshot(viewer: Client, service: Service) -> None:
    run_id = run_now(service, *agent_steps()[:4])
    text = text_of(viewer, "/dashboard/")
    found = re.search(r'id="snapshot" type="application/json">(.*?)</script>', text)
    assert found is not None
    (run,) = json.loads(found[1])["runs"]
    assert run["id"] == run_id
    assert run["agent"] == {
        "name": "support-bot@3", "call": 1, "max_calls": 12, "kind": "tool_call", "doing": "tickets/note",
        "parallel": 2, "tools": 2, "cost": 0.01, "changes": 4,
    }  # fmt: skip


def steps_of(*steps: tuple[str, str, float, float | None]) -> Sequence[StepJson]:
    return [
        {
            "id": name, "parent": parent, "at_ms": at_ms, "ms": length, "kind": "tool_call", "name": "a/b", "call": 1,
            "failed": False, "error": "", "usage": None, "cost_usd": None,
        }
        for name, parent, at_ms, length in steps
    ]  # fmt: skip


def test_put_steps_of_subagents_below_their_parent() -> None:
    steps = steps_of(("a", "", 0, 90), ("b", "", 95, 5), ("c", "a", 10, 5), ("d", "c", 11, 2), ("e", "gone", 50, 1))
    bars = step_waterfall(steps, total_ms=100, live=False).bars
    assert [(bar.id, bar.depth) for bar in bars] == [("a", 0), ("c", 1), ("d", 2), ("e", 0), ("b", 0)]


def test_show_every_step_even_if_parents_form_a_circle_or_a_long_chain() -> None:
    circle = steps_of(("a", "b", 0, 1), ("b", "a", 1, 1))
    assert len(step_waterfall(circle, total_ms=10, live=False).bars) == 2
    chain = steps_of(*((str(n), str(n - 1), n, 1.0) for n in range(500)))
    bars = step_waterfall(chain, total_ms=500, live=False).bars
    assert len(bars) == 500
    assert max(bar.depth for bar in bars) == MAX_DEPTH


@pytest.mark.parametrize("total_ms", [0, 3, 999, 4_200, 61_000, 3_600_000, 10**9])
def test_put_bars_and_marks_within_the_scale(total_ms: float) -> None:
    steps = steps_of(("a", "", total_ms / 2, None), ("b", "", 0, total_ms), ("c", "", total_ms * 2, 1))
    found = step_waterfall(steps, total_ms=total_ms, live=True)
    for bar in found.bars:
        assert 0 <= bar.left <= bar.left + bar.width <= 100.001
    assert 1 <= len(found.ticks) <= 12
    assert all(0 <= tick.left <= 100 for tick in found.ticks)


def test_say_that_steps_were_not_kept(viewer: Client) -> None:
    events = [step(f"t{n}", StepKind.TOOL_CALL, "a/b", at=NOW) for n in range(503)]
    text = text_of(viewer, f"/dashboard/requests/{keep(*opening(), *events, agent_course()[-1])}")
    assert "3 later steps not stored" in text


def test_list_agents_on_usage_page(viewer: Client) -> None:
    at = time.time() - 60
    make_key("team")
    keep(*agent_course(at), at=at)
    with CaptureQueriesContext(connection) as queries:
        text = text_of(viewer, "/dashboard/usage?days=7")
    assert len(queries) <= MAX_QUERIES
    assert '?agent=support-bot">support-bot</a>' in text
    assert re.search(r'title="170">170</span> / ', text)
