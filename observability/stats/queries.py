"""Paginated trace queries with bounded cost for any filter and table size.

A single condition uses its index. Of several, the usually most selective one uses its index, and the others are checked
on the next `SCAN` rows. Such a page may be short or empty without being the last: only `next=None` marks the end.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Substr
from django.db.models.lookups import Exact

from observability.models import ID_CHARS, AgentSteps, ErrorDump, StoredBody, Trace
from observability.vocabulary import EndReason, Status

SCAN = 5_000
MAX_LIMIT = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMMON = (Status.COMPLETED.value, EndReason.COMPLETED.value)
_PREFIX_END = "\U0010ffff"
_SELECTIVE_PREFIX_CHARS = 10
"""Minimum selective prefix length; a shorter one matches many rows, which would have to be sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilter:
    """Conditions combined by AND; empty ones are ignored.

    id: prefix. agent: `slug`, or `slug@version`. since is inclusive, until exclusive.
    """

    id: str = ""
    status: str = ""
    end_reason: str = ""
    model: str = ""
    agent: str = ""
    dialect: str = ""
    engine: str = ""
    upstream_request_id: str = ""
    claude_code_session_id: str = ""
    key_id: int | None = None
    key_label: str = ""
    conversation_id: str = ""
    error_type: str = ""
    error_phase: str = ""
    since: datetime | None = None
    until: datetime | None = None
    min_duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Traces, newest first. next: cursor of the next page; None on the last one."""

    traces: list[Trace]
    next: str | None


async def page(where: TraceFilter, *, limit: int, cursor: str | None = None) -> Page:
    """Page of matching traces after the cursor. Raises ValueError for an invalid cursor."""
    limit = max(1, min(limit, MAX_LIMIT))
    lead, rest = _conditions(where)
    rows = _before(Trace.objects.filter(lead), cursor).order_by("-received_at", "-id")
    end: tuple[datetime, str] | None = None
    if rest is not None:
        async for received_at, trace_id in rows.values_list("received_at", "id")[SCAN : SCAN + 1]:
            end = received_at, trace_id
        rows = _check_rows(rows, rest)
        if end is not None:
            rows = rows.filter(
                Q(received_at__gt=end[0]) | Q(received_at=end[0], id__gte=end[1]), received_at__gte=end[0]
            )
    traces = [trace async for trace in rows[: limit + 1]]
    if len(traces) > limit:
        traces = traces[:limit]
        end = traces[-1].received_at, traces[-1].pk
    return Page(traces, _cursor(*end) if end is not None else None)


async def trace(trace_id: str) -> Trace | None:
    """Trace by id."""
    if not _may_be_id(trace_id):
        return None
    return await Trace.objects.filter(pk=trace_id).afirst()


async def filter_of_id(text: str) -> TraceFilter | None:
    """Condition for an upstream's request id or a Claude Code session id.

    None if there is no such trace.
    """
    if await Trace.objects.filter(upstream_request_id=text).aexists():
        return TraceFilter(upstream_request_id=text)
    if await Trace.objects.filter(claude_code_session_id=text).aexists():
        return TraceFilter(claude_code_session_id=text)
    return None


async def agent_steps(trace_id: str) -> AgentSteps | None:
    """Steps of an agent's run."""
    if not _may_be_id(trace_id):
        return None
    return await AgentSteps.objects.filter(pk=trace_id).afirst()


async def stored_body(trace_id: str) -> StoredBody | None:
    """Request, answer and step contents, if the key stores bodies."""
    if not _may_be_id(trace_id):
        return None
    return await StoredBody.objects.filter(pk=trace_id).afirst()


async def dump(trace_id: str) -> ErrorDump | None:
    """Error dump of a trace, with the trace prefetched."""
    if not _may_be_id(trace_id):
        return None
    return await ErrorDump.objects.select_related("trace").filter(pk=trace_id).afirst()


async def earlier_turns(of: Trace) -> int:
    """Number of earlier turns of the same session; 0 without a session."""
    if not of.conversation_id:
        return 0
    same = Trace.objects.filter(conversation_id=of.conversation_id, received_at__lt=of.received_at)
    return await same.filter(_unindexed("key_id", of.key_id)).acount()


async def neighbours(of: Trace) -> tuple[Trace | None, Trace | None]:
    """Previous and next turn of the same session and key."""
    if not of.conversation_id:
        return None, None
    same = Trace.objects.filter(_unindexed("key_id", of.key_id), conversation_id=of.conversation_id)
    before = await same.filter(received_at__lt=of.received_at).order_by("-received_at", "-id").afirst()
    after = await same.filter(received_at__gt=of.received_at).order_by("received_at", "id").afirst()
    return before, after


def _conditions(where: TraceFilter) -> tuple[Q, dict[str, Any] | None]:
    """Indexed condition, and conditions to check row by row; None if there are none."""
    slug, at, _ = where.agent.partition("@")
    equal = {
        "upstream_request_id": where.upstream_request_id or None,
        "claude_code_session_id": where.claude_code_session_id or None,
        "conversation_id": where.conversation_id or None,
        "end_reason": where.end_reason or None,
        "status": where.status or None,
        "key_id": where.key_id,
        "model": where.model or slug or None,
    }
    equal = {name: value for name, value in equal.items() if value is not None}
    # Statuses of most traces come last, as the least selective.
    leads = sorted(equal, key=lambda name: equal[name] in _COMMON)
    lead = Q(**{leads[0]: equal[leads[0]]}) if leads else Q()
    if where.since is not None:
        lead &= Q(received_at__gte=where.since)
    if where.until is not None:
        lead &= Q(received_at__lt=where.until)
    rest: dict[str, Any] = {name: equal[name] for name in leads[1:]}
    if len(where.id) >= _SELECTIVE_PREFIX_CHARS:
        lead &= _id_prefix(where.id)
    elif where.id:
        rest["id"] = where.id
    if where.min_duration_ms:
        rest["duration_ms__gte"] = where.min_duration_ms
    for name in ("dialect", "engine", "key_label", "error_type", "error_phase"):
        if getattr(where, name):
            rest[name] = getattr(where, name)
    if where.agent:
        rest |= {"agent": where.agent} if at else {"agent_of": slug}
    return lead, rest or None


def _check_rows(rows: QuerySet[Trace], rest: dict[str, Any]) -> QuerySet[Trace]:
    for name, value in rest.items():
        match name:
            case "duration_ms__gte":
                rows = rows.filter(duration_ms__gte=value)
            case "agent_of":
                rows = rows.filter(_unindexed("model", value)).exclude(agent="")
            case "id":
                rows = rows.filter(Exact(Substr("id", 1, len(value)), value))
            case _:
                rows = rows.filter(_unindexed(name, value))
    return rows


def _unindexed(name: str, value: Any) -> Q:
    """Condition that bypasses indexes, else the query planner often picks the wrong one."""
    empty = Value(0) if isinstance(value, int) or value is None else Value("")
    return Q(Exact(Coalesce(F(name), empty), Value(0) if value is None else Value(value)))


def _may_be_id(text: str) -> bool:
    """True if the text can be queried: PostgreSQL rejects NUL even in parameters."""
    return len(text) <= ID_CHARS and "\x00" not in text


def _id_prefix(prefix: str) -> Q:
    """Prefix condition that uses an index.

    SQLite has none for LIKE (case-insensitive), PostgreSQL none for a range (its order depends on the collation).
    """
    if connection.vendor == "sqlite":
        return Q(id__gte=prefix, id__lt=prefix + _PREFIX_END)
    return Q(id__startswith=prefix)


def _before(rows: QuerySet[Trace], cursor: str | None) -> QuerySet[Trace]:
    if not cursor:
        return rows
    micros, _, trace_id = cursor.partition("-")
    if not _may_be_id(trace_id):
        raise ValueError(cursor)
    try:
        at = _EPOCH + timedelta(microseconds=int(micros))
    except OverflowError as error:
        raise ValueError(cursor) from error
    return rows.filter(Q(received_at__lt=at) | Q(received_at=at, id__lt=trace_id), received_at__lte=at)


def _cursor(received_at: datetime, trace_id: str) -> str:
    return f"{(received_at - _EPOCH) // timedelta(microseconds=1)}-{trace_id}"
