"""GET /dashboard/requests: the request history, with filters and endless scrolling."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import urlencode

from django.db.models import Max
from django.http import HttpRequest, HttpResponseBase

from apiproxy.core.turns import EngineName
from observability.dashboard.access import PageContext, error_page, page, render_page, wants_fragment
from observability.models import Dimension, Rollup
from observability.stats import queries
from observability.stats.rollup import HOUR_S
from observability.vocabulary import EndReason, Status

PAGE_ROWS = 50
MAX_PARAM_CHARS = 200
MAX_CHOICES = 300

_SPANS = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
_SLOW = {"1000": "over 1 s", "5000": "over 5 s", "15000": "over 15 s", "60000": "over 1 min"}
_ID_PREFIX = "req_"
_NAMES = (
    "q", "status", "reason", "model", "agent", "key", "dialect", "engine", "session", "error", "phase", "span", "slow",
    "until",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """Option of a filter."""

    value: str
    label: str


class Filters:
    """Filters of the query string. Raises ValueError for a value that is too long or contains NUL."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = {name: given[name].strip() for name in _NAMES if given.get(name, "").strip()}
        if any(len(value) > MAX_PARAM_CHARS or "\x00" in value for value in self.given.values()):
            raise ValueError(f"Filters are limited to {MAX_PARAM_CHARS} characters, without NUL.")
        if "agent" in self.given and "@" not in self.given["agent"]:  # a slug is the model id, which the form offers
            self.given.setdefault("model", self.given.pop("agent"))

    def query(self, **more: str) -> str:
        """The filters as a query string."""
        return urlencode(self.given | more)

    async def where(self, *, keys: Mapping[str, str], now: datetime) -> queries.TraceFilter:
        """The conditions of the query. keys: key ids by lower-case name."""
        text = self.given.get("q", "")
        found = await queries.filter_of_id(text) if text and text.lower() not in keys else None
        if found is None:
            return self._where(text, keys=keys, now=now)
        return replace(
            self._where("", keys=keys, now=now),
            upstream_request_id=found.upstream_request_id,
            claude_code_session_id=found.claude_code_session_id,
        )

    def _where(self, text: str, *, keys: Mapping[str, str], now: datetime) -> queries.TraceFilter:
        given = self.given
        by_id = text.startswith(_ID_PREFIX)
        key = given.get("key", "") or ("" if by_id else keys.get(text.lower(), ""))
        session = given.get("session", "") or ("" if by_id or text.lower() in keys else text)
        slow = given.get("slow", "")
        return queries.TraceFilter(
            id=text if by_id else "",
            status=given.get("status", ""),
            end_reason=given.get("reason", ""),
            model=given.get("model", ""),
            agent=given.get("agent", ""),
            dialect=given.get("dialect", ""),
            engine=given.get("engine", ""),
            key_id=int(key) if key.isdecimal() and len(key) < 19 else None,
            conversation_id=session,
            error_type=given.get("error", ""),
            error_phase=given.get("phase", ""),
            since=now - _SPANS[given["span"]][1] if given.get("span") in _SPANS else None,
            until=_moment(given.get("until", "")),
            min_duration_ms=int(slow) if slow in _SLOW else None,
        )


@page
async def request_list(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """The page; for a script only the rows after the cursor."""
    fragment = wants_fragment(request)
    now = datetime.now(UTC)
    keys = await _choices_of(Dimension.KEY)
    try:
        filters = Filters(request.GET.dict())
        names = {key.label.lower(): key.value for key in keys}
        cursor = request.GET.get("cursor", "")[:MAX_PARAM_CHARS]
        found = await queries.page(await filters.where(keys=names, now=now), limit=PAGE_ROWS, cursor=cursor or None)
    except (ValueError, OverflowError) as error:
        return error_page(request, 400, str(error) or "Invalid filter.")
    more = filters.query(cursor=found.next) if found.next else ""
    context: dict[str, Any] = {
        "traces": found.traces,
        "more": more,
        "before": _cursor_time(found.next),
        "first": not cursor,
        "filtered": bool(filters.given),
    }
    if fragment:
        name = "_request_rows" if cursor else "_request_table"
        return await render_page(request, ctx, f"observability/{name}.html", context)
    context |= {"title": "Requests", "live_page": True, "given": filters.given, "choices": await _filter_choices(keys)}
    return await render_page(request, ctx, "observability/requests.html", context)


async def _choices_of(dimension: Dimension) -> list[Choice]:
    """Keys or models that have rollups, by name."""
    rows = Rollup.objects.filter(resolution_s=HOUR_S, dimension=dimension).order_by().values("value")
    found = [
        Choice(row["value"], row["name"] or row["value"])
        async for row in rows.annotate(name=Max("label"))[:MAX_CHOICES]
    ]
    return sorted(found, key=lambda choice: choice.label.lower())


async def _filter_choices(keys: list[Choice]) -> dict[str, list[Choice]]:
    agents = await _choices_of(Dimension.AGENT)
    slugs = {agent.value for agent in agents}
    return {
        "agent": agents,
        "status": [Choice(status.value, status.value) for status in Status if status is not Status.ACTIVE],
        "reason": [Choice(reason.value, reason.value.replace("_", " ")) for reason in EndReason],
        "model": [model for model in await _choices_of(Dimension.MODEL) if model.value not in slugs],
        "key": keys,
        "dialect": [Choice("anthropic", "Anthropic"), Choice("openai", "OpenAI")],
        "engine": [Choice(name, name) for name in get_args(EngineName)],
        "span": [Choice(name, label) for name, (label, _) in _SPANS.items()],
        "slow": [Choice(value, label) for value, label in _SLOW.items()],
    }


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _cursor_time(cursor: str | None) -> datetime | None:
    """Time of the cursor, in the format of `queries.page`."""
    return datetime.fromtimestamp(int(cursor.partition("-")[0]) / 1_000_000, UTC) if cursor else None
