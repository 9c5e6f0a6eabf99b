"""GET /dashboard/requests/{id}: one request, finished or active."""

import json
import time
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from observability.dashboard.access import PageContext, page, render_page, wants_fragment
from observability.dashboard.curl import curl_line
from observability.dashboard.waterfall import waterfall
from observability.models import StoredBody, Trace
from observability.stats import queries
from observability.tracing.columns import trace_values
from observability.tracing.redact import Redactor
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

PHASES = (
    "received", "queued", "admitted", "worker_ready", "first_event", "first_token", "last_event", "finished",
)  # fmt: skip
_MAX_SHOWN_CHARS = 200_000


@page
async def request_detail(request: HttpRequest, ctx: PageContext, trace_id: str) -> HttpResponseBase:
    """The page; for a script only the part that changes while the request runs."""
    draft = ctx.service.recorder.find(trace_id)
    trace = _as_trace(draft, ctx) if draft is not None else await queries.trace(trace_id)
    if trace is None:
        context: dict[str, Any] = {"title": "Request", "trace_id": trace_id}
        return await render_page(request, ctx, "observability/request_missing.html", context, status=404)
    live = trace.status == Status.ACTIVE  # in this process, or in another one, whose row is as of its last write
    context = {"title": "Request", "live_page": live, "trace": trace, "live": live, **_facts(trace)}
    if not live:
        context |= await _stored(request, trace)
    before, after = await queries.neighbours(trace)
    context |= {"before": before, "after": after}
    if trace.conversation_id:
        context["turn_number"] = await queries.earlier_turns(trace) + 1
    template = "_request_detail" if wants_fragment(request) else "request"
    return await render_page(request, ctx, f"observability/{template}.html", context)


def _as_trace(draft: ActiveTrace, ctx: PageContext) -> Trace:
    """The row that an active request would have now."""
    return Trace(
        **trace_values(draft, final=False, node=ctx.service.config.node, redactor=Redactor(ctx.service.config.secrets))
    )


def _facts(trace: Trace) -> dict[str, Any]:
    times = {name: _unix(getattr(trace, f"{name}_at")) for name in PHASES}
    first, last = times["first_token"], times["last_event"]
    seconds = last - first if first is not None and last is not None else 0
    events = sorted(trace.event_types.items(), key=lambda item: -item[1])
    most = max((count for _, count in events), default=0)
    bars = waterfall(times, now=time.time())
    return {
        "waterfall": bars,
        # Not `trace.queue_ms`, which a request that still waits, or gave up, does not have.
        "queue_ms": next((bar.length_ms for bar in bars.bars if bar.kind == "queue"), None),
        "events": [(kind, count, 100 * count / most) for kind, count in events],
        "chars_per_s": trace.output_chars / seconds if seconds > 0.2 else None,
        "tokens_per_s": trace.output_tokens / seconds if seconds > 0.2 and trace.output_tokens else None,
        "cost": None if trace.cost_micro_usd is None else trace.cost_micro_usd / 1_000_000,
    }


async def _stored(request: HttpRequest, trace: Trace) -> dict[str, Any]:
    """The error dump and the stored bodies, if any."""
    dump = await queries.dump(trace.pk)
    body = await StoredBody.objects.filter(trace_id=trace.pk).afirst()
    kept: dict[str, Any] = {}
    if dump is not None:
        data = dict(dump.data)
        kept["stderr"] = data.pop("stderrTail", None) or (data.get("diagnostics") or {}).get("stderrTail")
        kept["dump"] = _pretty(data)
    if body is not None:
        kept["stored"] = {"request": _pretty(body.request), "answer": _pretty(body.answer)}
        if body.request is not None:
            base = f"{request.scheme}://{request.get_host()}"
            kept["curl"] = curl_line(body.request, base_url=base)
    return kept


def _pretty(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False, indent=2)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}\n… cut off"


def _unix(at: datetime | None) -> float | None:
    return at.timestamp() if at else None
