"""GET /dashboard/requests/{id}: one request, finished or active."""

import json
import time
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from observability.dashboard.access import PageContext, page, render_page, wants_fragment
from observability.dashboard.curl import curl_line
from observability.dashboard.step_waterfall import step_waterfall
from observability.dashboard.waterfall import waterfall
from observability.models import ID_CHARS, Trace
from observability.stats import queries
from observability.tracing.columns import trace_values
from observability.tracing.step_values import content_of, steps_of
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

PHASES = (
    "received", "queued", "admitted", "worker_ready", "first_event", "first_token", "last_event", "finished",
)  # fmt: skip
_MAX_SHOWN_CHARS = 200_000
_CONTENTS = (("arguments", "Arguments"), ("result", "Result"))


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
    if trace.agent:
        context |= await _steps(ctx, draft, trace, total_ms=context["waterfall"].total_ms, live=live)
    if not live:
        context |= await _stored(request, trace)
    before, after = await queries.neighbours(trace)
    context |= {"before": before, "after": after}
    if trace.conversation_id:
        context["turn_number"] = await queries.earlier_turns(trace) + 1
    template = "_request_detail" if wants_fragment(request) else "request"
    return await render_page(request, ctx, f"observability/{template}.html", context)


@page
async def step_content(request: HttpRequest, ctx: PageContext, trace_id: str) -> HttpResponseBase:
    """GET /dashboard/requests/{id}/step?id=: arguments and result of a step, for a script."""
    step_id = request.GET.get("id", "")[:ID_CHARS]
    draft = ctx.service.recorder.find(trace_id)
    if draft is not None and draft.steps is not None:
        step = draft.steps.find(step_id)
        found = content_of(step, ctx.service.redactor) if step is not None else {}
        stores = draft.turn.caller.store_bodies
    else:
        row = await queries.stored_body(trace_id)
        found = (row.steps or {}).get(step_id, {}) if row is not None else {}
        stores = row is not None
    parts = [(title, _readable(found[name])) for name, title in _CONTENTS if found.get(name) is not None]
    return await render_page(request, ctx, "observability/_step_content.html", {"parts": parts, "stores": stores})


async def _steps(
    ctx: PageContext, draft: ActiveTrace | None, trace: Trace, *, total_ms: float, live: bool
) -> dict[str, Any]:
    """Waterfall of the steps: of this process's run as they are, else as they were written last."""
    if draft is not None and draft.steps is not None:
        steps, omitted = steps_of(draft, ctx.service.redactor, final=False), draft.steps.omitted
    else:
        kept = await queries.agent_steps(trace.pk)
        steps, omitted = (kept.steps, kept.omitted) if kept is not None else ([], 0)
    slug, _, version = trace.agent.partition("@")
    bars = step_waterfall(steps, total_ms=total_ms, live=live, omitted=omitted)
    return {"steps": bars, "agent_slug": slug, "agent_version": version}


def _as_trace(draft: ActiveTrace, ctx: PageContext) -> Trace:
    """The row that an active request would have now."""
    return Trace(**trace_values(draft, final=False, node=ctx.service.config.node, redactor=ctx.service.redactor))


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
    body = await queries.stored_body(trace.pk)
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


def _readable(content: Any) -> str:
    """Texts of content blocks as they are, everything else as JSON."""
    blocks = [content] if isinstance(content, str) else content
    if isinstance(blocks, list) and blocks and all(_text_of(block) is not None for block in blocks):
        return _cut("\n\n".join(_text_of(block) or "" for block in blocks))
    return _pretty(content)


def _text_of(block: Any) -> str | None:
    text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else block
    return text if isinstance(text, str) else None


def _pretty(data: Any) -> str:
    return _cut(json.dumps(data, ensure_ascii=False, indent=2))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}\n… cut off"


def _unix(at: datetime | None) -> float | None:
    return at.timestamp() if at else None
