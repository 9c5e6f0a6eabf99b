"""GET /dashboard/sessions: stored conversations; if none are stored, those of the traces."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from observability.dashboard.access import PageContext, error_page, page, render_page, wants_fragment
from observability.dashboard.session_queries import SessionRow, page_of_sessions
from observability.models import Trace

PAGE_ROWS = 50
TRACED_ROWS = 2_000
"""Newest traces searched for sessions if the gateway has stored none."""

_MAX_PARAM_CHARS = 200
_COLUMNS = (
    "key_label", "key_id", "conversation_id", "dialect", "model", "received_at", "message_count", "status",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "cost_micro_usd", "unpriced",
)  # fmt: skip


@page
async def session_list(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """The page; for a script only the rows after the cursor."""
    text = request.GET.get("q", "").strip()[:_MAX_PARAM_CHARS]
    cursor = request.GET.get("cursor", "")[:_MAX_PARAM_CHARS]
    try:
        found = await page_of_sessions(text=text, limit=PAGE_ROWS, cursor=cursor)
    except ValueError:
        return error_page(request, 400, "Invalid cursor.")
    rows, following, traced = list(found.rows), found.next, False
    if not rows and not cursor:
        rows, traced = await _traced(text), True
    context: dict[str, Any] = {
        "title": "Sessions", "sessions": rows, "next": following, "text": text, "traced": traced and bool(rows),
    }  # fmt: skip
    name = "sessions"
    if wants_fragment(request):
        name = "_session_rows" if cursor else "_session_table"
    return await render_page(request, ctx, f"observability/{name}.html", context)


async def _traced(text: str) -> list[SessionRow]:
    rows = Trace.objects.filter(conversation_id__isnull=False).order_by("-received_at", "-id")
    if text:
        rows = rows.filter(conversation_id=text)
    return sessions_of([row async for row in rows.values(*_COLUMNS)[:TRACED_ROWS]])[:PAGE_ROWS]


def sessions_of(traces: Iterable[dict[str, Any]]) -> list[SessionRow]:
    """Sessions of the traces, last used first. traces: their columns, newest first."""
    found: dict[tuple[int, str], SessionRow] = {}
    for trace in traces:
        at = trace["received_at"].timestamp()
        place = (trace["key_id"] or 0, trace["conversation_id"])
        row = found.get(place)
        if row is None:
            row = found[place] = {
                "key": trace["key_label"],
                "key_id": trace["key_id"] or 0,
                "conversation": trace["conversation_id"],
                "dialect": trace["dialect"],
                "model": trace["model"],
                "created": at,
                "last_used": at,
                "messages": trace["message_count"],
                "turns": 0,
                "resumes": -1,
                "resets": 0,
                "failures": 0,
                "change": "",
                "differed_at": None,
                "unstored": 0,
                "tokens": 0,
                "cost": 0.0,
                "unpriced": 0,
            }
        row["created"] = at
        row["turns"] += 1
        row["resumes"] += 1
        row["failures"] += trace["status"] not in ("completed", "active")
        row["tokens"] += sum(trace[name] for name in _COLUMNS if name.endswith("_tokens"))
        row["cost"] += (trace["cost_micro_usd"] or 0) / 1_000_000
        row["unpriced"] += bool(trace["unpriced"])
    return list(found.values())
