"""GET /dashboard/errors: errors grouped by type and phase."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from observability.dashboard.access import PageContext, page, render_page
from observability.models import Dimension, Trace
from observability.stats import figures
from observability.stats.figures import Group

_MAX_GROUPS = 100


@dataclass(frozen=True, slots=True)
class Span:
    """Period of the page. seconds: None for all traces."""

    name: str
    title: str
    seconds: int | None


SPANS = {
    span.name: span
    for span in (
        Span("1h", "1 hour", 3_600),
        Span("24h", "24 hours", 86_400),
        Span("7d", "7 days", 7 * 86_400),
        Span("all", "All", None),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Errors of one type in one phase. last: the newest trace, None once it is pruned."""

    type: str
    phase: str
    count: int
    share: float
    first_at: datetime
    last_at: datetime
    last: Trace | None
    last_id: str


@page
async def error_list(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """Groups of a period, most frequent first."""
    span = SPANS.get(request.GET.get("span", ""), SPANS["24h"])
    since = None if span.seconds is None else time.time() - span.seconds
    groups = (await figures.groups(Dimension.ERROR, since))[:_MAX_GROUPS]
    totals = await figures.totals(since)
    last = {trace.pk: trace async for trace in Trace.objects.filter(pk__in=[group.last_error_id for group in groups])}
    count = sum(group.totals.requests for group in groups)
    context: dict[str, Any] = {
        "title": "Errors",
        "groups": [_error_group(group, count, last.get(group.last_error_id)) for group in groups],
        "spans": list(SPANS.values()),
        "span": span,
        "totals": totals,
    }
    return await render_page(request, ctx, "observability/errors.html", context)


def _error_group(group: Group, count: int, last: Trace | None) -> ErrorGroup:
    kind, _, phase = group.value.partition("/")
    return ErrorGroup(
        type=kind,
        phase=phase,
        count=group.totals.requests,
        share=100 * group.totals.requests / count,
        first_at=datetime.fromtimestamp(group.first_at, UTC),
        last_at=datetime.fromtimestamp(group.last_error_at or group.last_at, UTC),
        last=last,
        last_id=group.last_error_id,
    )
