"""Trace pagination: completeness, order and bounded page size."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from observability.models import Trace
from observability.stats import queries
from observability.stats.queries import Page, TraceFilter
from observability.tracing.store import write_traces
from observability.tracing.synthetic import synthetic_traces

pytestmark = pytest.mark.django_db(transaction=True)

UNTIL = datetime(2026, 6, 1, tzinfo=UTC)


def fill(count: int = 300) -> list[dict[str, Any]]:
    traces = list(synthetic_traces(count, days=1, until=UNTIL, seed=3))
    for number, trace in enumerate(traces):
        trace["engine"] = "http" if number % 3 else "sdk"
        trace["claude_code_session_id"] = f"session-{number % 20}" if number % 2 else None
        trace["upstream_request_id"] = f"req_01{number % 40}" if number % 3 else None
    write_traces(traces)
    return traces


async def all_pages(where: TraceFilter, limit: int) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    for _ in range(1_000):
        page = await queries.page(where, limit=limit, cursor=cursor)
        assert len(page.traces) <= limit
        ids += [trace.pk for trace in page.traces]
        cursor = page.next
        if cursor is None:
            return ids
    raise AssertionError("the pages have no end")


FILTERS: dict[str, tuple[TraceFilter, Callable[[dict[str, Any]], bool]]] = {
    "none": (TraceFilter(), lambda row: True),
    "status": (TraceFilter(status="error"), lambda row: row["status"] == "error"),
    "model": (TraceFilter(model="claude-haiku-4-5"), lambda row: row["model"] == "claude-haiku-4-5"),
    "key": (TraceFilter(key_id=2), lambda row: row["key_id"] == 2),
    "label": (TraceFilter(key_label="search"), lambda row: row["key_label"] == "search"),
    "end reason": (TraceFilter(end_reason="refused"), lambda row: row["end_reason"] == "refused"),
    "session": (TraceFilter(conversation_id="conversation-3"), lambda row: row["conversation_id"] == "conversation-3"),
    "engine": (TraceFilter(engine="http"), lambda row: row["engine"] == "http"),
    "upstream id": (TraceFilter(upstream_request_id="req_015"), lambda row: row["upstream_request_id"] == "req_015"),
    "claude code session": (
        TraceFilter(claude_code_session_id="session-7"),
        lambda row: row["claude_code_session_id"] == "session-7",
    ),
    "slow": (TraceFilter(min_duration_ms=8_000), lambda row: (row["duration_ms"] or 0) >= 8_000),
    "time": (
        TraceFilter(since=UNTIL - timedelta(hours=6), until=UNTIL - timedelta(hours=3)),
        lambda row: UNTIL - timedelta(hours=6) <= row["received_at"] < UNTIL - timedelta(hours=3),
    ),
    "beginning of ids": (TraceFilter(id="req_A"), lambda row: row["id"].startswith("req_A")),
    "many": (
        TraceFilter(model="claude-sonnet-4-5", key_id=1, status="completed", dialect="openai"),
        lambda row: (
            (row["model"], row["key_id"], row["status"], row["dialect"])
            == ("claude-sonnet-4-5", 1, "completed", "openai")
        ),
    ),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("scan", [queries.SCAN, 17])
async def test_pages_together_hold_every_match_once_the_newest_first(
    name: str, scan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SCAN", scan)
    rows = await _in_thread(fill)
    where, matches = FILTERS[name]
    wanted = sorted(
        (row for row in rows if matches(row)), key=lambda row: (row["received_at"], row["id"]), reverse=True
    )

    assert wanted
    assert await all_pages(where, limit=7) == [row["id"] for row in wanted]


async def test_traces_of_the_same_moment_are_neither_lost_nor_doubled() -> None:
    rows = list(synthetic_traces(40, days=1, until=UNTIL, seed=3))
    for row in rows:
        row["received_at"] = UNTIL
    await _in_thread(lambda: write_traces(rows))

    assert await all_pages(TraceFilter(), limit=3) == sorted((row["id"] for row in rows), reverse=True)


async def test_new_traces_do_not_move_the_pages_behind_the_cursor() -> None:
    rows = await _in_thread(lambda: fill(30))
    first = await queries.page(TraceFilter(), limit=10)
    await _in_thread(lambda: write_traces(list(synthetic_traces(5, days=1, until=UNTIL + timedelta(days=2), seed=4))))
    second = await queries.page(TraceFilter(), limit=10, cursor=first.next)

    assert [trace.pk for trace in second.traces] == [row["id"] for row in rows[::-1]][10:20]


@pytest.mark.parametrize("cursor", ["x", "-", "1", "99999999999999999999999999-req", "1-" + "\x00"])
async def test_reject_forged_cursor_or_ignore_it(cursor: str) -> None:
    try:
        page = await queries.page(TraceFilter(), limit=3, cursor=cursor)
    except ValueError:
        return
    assert page == Page([], None)


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("key", 1), ("session", 1), ("many", 2), ("slow", 2)])
def test_load_page_with_fixed_number_of_queries(name: str, count: int) -> None:
    fill(50)
    with CaptureQueriesContext(connection) as captured:
        async_to_sync(queries.page)(FILTERS[name][0], limit=7)

    assert len(captured) == count


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("none", "trace_received"),
        ("status", "trace_status"),
        ("model", "trace_model"),
        ("key", "trace_key"),
        ("end reason", "trace_end_reason"),
        ("session", "trace_conversation"),
        ("upstream id", "trace_upstream_request"),
        ("claude code session", "trace_claude_code_session"),
        ("many", "trace_key"),
        ("slow", "trace_received"),
    ],
)
def test_answer_each_filter_from_its_index(name: str, index: str) -> None:
    fill(50)
    with CaptureQueriesContext(connection) as captured:
        async_to_sync(queries.page)(FILTERS[name][0], limit=7)
    if connection.vendor != "sqlite":  # with fifty rows, PostgreSQL always scans the table
        return
    for query in captured:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plan = " ".join(str(row[3]) for row in cursor.fetchall())
        assert re.search(rf"INDEX {index}\b", plan)
        assert "TEMP B-TREE" not in plan


async def test_find_neighbours_within_session_and_key() -> None:
    rows = list(synthetic_traces(6, days=1, until=UNTIL, seed=3))
    for row, (key, session) in zip(rows, [(1, "s"), (2, "s"), (1, "s"), (1, "t"), (1, "s"), (1, None)], strict=True):
        row |= {"key_id": key, "conversation_id": session}
    await _in_thread(lambda: write_traces(rows))
    middle, alone = await Trace.objects.aget(pk=rows[2]["id"]), await Trace.objects.aget(pk=rows[5]["id"])

    before, after = await queries.neighbours(middle)
    assert before is not None
    assert after is not None
    assert (before.pk, after.pk) == (rows[0]["id"], rows[4]["id"])
    assert await queries.earlier_turns(middle) == 1
    assert await queries.neighbours(alone) == (None, None)
    assert await queries.earlier_turns(alone) == 0


async def _in_thread(work: Callable[[], Any]) -> Any:
    return await sync_to_async(work)()
