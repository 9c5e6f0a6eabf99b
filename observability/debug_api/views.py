"""GET /debug/…, POST /debug/active/{id}/cancel and /metrics: the operations API."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apiproxy.account.sessions import stats as sessions_stats
from apiproxy.conf import gateway_settings
from apiproxy.core.version import VERSION
from observability.cluster.states import MemberState, active_run, total_queue, worst_upstream
from observability.debug_api.access import error_response, json_response, operator_view
from observability.health import memory_json, own_process_json
from observability.logs import log_files
from observability.models import Dimension, Trace
from observability.permissions import Operator
from observability.serialize.figures import model_json, percentiles_json, requests_json
from observability.serialize.processes import active_json, process_json, queue_json, settings_json, upstream_json
from observability.serialize.traces import dump_json, steps_json, trace_json
from observability.serialize.values import Json
from observability.service import Service
from observability.stats import figures, queries
from observability.tracing.step_values import steps_of
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

logger = logging.getLogger(__name__)

_WINDOWS_S = {"5m": 300, "1h": 3_600, "24h": 86_400}
_DEFAULT_TRACES = 20
_DEFAULT_ERRORS = 10
_DEFAULT_TAIL = 100
_MAX_TEXT_PARAM = 200


@operator_view("GET")
async def stats_view(request: HttpRequest, service: Service, operator: Operator) -> HttpResponseBase:
    """GET /debug/stats: totals, percentiles over three windows, active requests."""
    now, members = time.time(), await service.cluster.members()
    sums, models = await figures.totals(), await figures.groups(Dimension.MODEL)
    agents = await figures.groups(Dimension.AGENT)
    active = sum(state["active"] for state in members)
    windows = {}
    for name, seconds in _WINDOWS_S.items():
        since = now - seconds
        windows[name] = {
            "requests": requests_json(await figures.totals(since, now=now), active=active),
            "percentiles": percentiles_json(await figures.distribution(since, now=now)),
        }
    return json_response(
        {
            "version": VERSION,
            "config": settings_json(gateway_settings(), service.config.cli),
            "queue": queue_json(total_queue(state["queue"] for state in members)),
            "upstream": upstream_json(worst_upstream(state["upstream"] for state in members)),
            "sessions": await sessions_stats(),
            **service.uptime.json(),
            "pid": os.getpid(),
            "node": service.config.node,
            "memory": memory_json(members[0]["workers"]),
            "processes": [process_json(state, now=now) for state in members],
            "requests": requests_json(sums, active=active),
            "byModel": {group.value: model_json(group) for group in models},
            "byAgent": {group.value: model_json(group) for group in agents},
            "windows": windows,
            "traces": service.traces_json(),
            "settlements": service.settlements_json(),
            "activeRequests": _active(members, now),
        }
    )


@operator_view("GET")
async def traces_view(request: HttpRequest, service: Service, operator: Operator) -> HttpResponseBase:
    """GET /debug/traces: newest first, with filters and a cursor in the query (API.md)."""
    return await _page(request, default_limit=_DEFAULT_TRACES)


@operator_view("GET")
async def errors_view(request: HttpRequest, service: Service, operator: Operator) -> HttpResponseBase:
    """GET /debug/errors: traces of failed requests; rejected ones are in /debug/traces?status=refused."""
    return await _page(request, default_limit=_DEFAULT_ERRORS, status=Status.ERROR.value)


@operator_view("GET")
async def trace_view(request: HttpRequest, service: Service, operator: Operator, trace_id: str) -> HttpResponseBase:
    """GET /debug/traces/{id}: a finished or active request."""
    draft = service.recorder.find(trace_id)
    if draft is not None:
        run = active_json(active_run(draft, service.cluster.identity), now=time.time())
        return json_response(run | {"status": Status.ACTIVE.value} | _steps_so_far(draft, service))
    trace = await queries.trace(trace_id)
    if trace is None:
        return error_response(404, "Trace not found", req_id=trace_id)
    return json_response(trace_json(trace) | {"session": await _session(trace)} | await _steps(trace))


@operator_view("GET")
async def error_view(request: HttpRequest, service: Service, operator: Operator, trace_id: str) -> HttpResponseBase:
    """GET /debug/errors/{id}: the dump of a failed request."""
    dump = await queries.dump(trace_id)
    return (
        json_response(dump_json(dump))
        if dump is not None
        else error_response(404, "Error dump not found", req_id=trace_id)
    )


@operator_view("GET")
async def active_view(request: HttpRequest, service: Service, operator: Operator) -> HttpResponseBase:
    """GET /debug/active: queued and running requests of all processes."""
    members = await service.cluster.members()
    queue = total_queue(state["queue"] for state in members)
    return json_response({"queue": queue_json(queue), "activeRequests": _active(members, time.time())})


@operator_view("POST", changes=True)
async def cancel_view(request: HttpRequest, service: Service, operator: Operator, trace_id: str) -> HttpResponseBase:
    """POST /debug/active/{id}/cancel: cancel a queued or running request."""
    if not await service.cluster.cancel(trace_id):
        return error_response(404, "No active request with this id", req_id=trace_id)
    logger.warning("request.cancel_requested", extra={"reqId": trace_id, "by": operator.name})
    return json_response({"reqId": trace_id, "cancelled": True}, status=202)


@operator_view("GET")
async def health_view(request: HttpRequest, service: Service, operator: Operator) -> HttpResponseBase:
    """GET /debug/health: this process and its workers, then all processes."""
    members, now = await service.cluster.members(), time.time()
    return json_response(
        {
            "status": "degraded" if service.writer.failing or service.gateway.accounting.failing else "ok",
            "version": VERSION,
            "pid": os.getpid(),
            **service.uptime.json(),
            "node": service.config.node,
            "process": own_process_json(),
            "memory": memory_json(members[0]["workers"]),
            "queue": queue_json(members[0]["queue"]),
            "upstream": upstream_json(members[0]["upstream"]),
            "processes": [process_json(state, now=now) for state in members],
            "requests": requests_json(await figures.totals(), active=sum(state["active"] for state in members)),
            "traces": service.traces_json(),
            "settlements": service.settlements_json(),
            "config": settings_json(gateway_settings(), service.config.cli),
        }
    )


@operator_view("GET")
async def logs_view(request: HttpRequest, service: Service, operator: Operator) -> HttpResponseBase:
    """GET /debug/logs: log files, newest first."""
    folder = service.config.log_dir
    files = await asyncio.to_thread(log_files.list_files, folder)
    listed = [
        {
            "name": file.name,
            "size": file.size_bytes,
            "modified": datetime.fromtimestamp(file.modified_at, UTC).isoformat(),
        }
        for file in files
    ]
    return json_response({"logDir": str(folder), "files": listed})


@operator_view("GET")
async def log_view(request: HttpRequest, service: Service, operator: Operator, name: str) -> HttpResponseBase:
    """GET /debug/logs/{file}?tail=100&level=&text=: the last matching lines."""
    try:
        count = _number(request, "tail", _DEFAULT_TAIL)
        level, text = _text(request, "level"), _text(request, "text")
        found = await asyncio.to_thread(log_files.tail, service.config.log_dir, name, count, level=level, text=text)
    except ValueError as error:
        return error_response(400, str(error) if isinstance(error, ParameterError) else "Not a log file name")
    except FileNotFoundError:
        return error_response(404, "Log file not found")
    return json_response({"file": name, "total": found.total, "returned": len(found.lines), "lines": found.lines})


@operator_view("GET")
async def metrics_view(request: HttpRequest, service: Service, operator: Operator) -> HttpResponseBase:
    """GET /metrics: Prometheus metrics of all processes of this node."""
    await service.update_metrics()
    body, content_type = await asyncio.to_thread(service.metrics.render, request.headers.get("accept", ""))
    return HttpResponse(body, content_type=content_type)


class ParameterError(ValueError):
    """Invalid query parameter, named in the message."""


def _active(members: Sequence[MemberState], now: float) -> list[Json]:
    """Active requests, oldest first."""
    runs = sorted((run for state in members for run in state["runs"]), key=lambda run: run["received"])
    return [active_json(run, now=now) for run in runs]


async def _page(request: HttpRequest, *, default_limit: int, status: str = "") -> HttpResponseBase:
    try:
        where, limit = _filter(request, status), _number(request, "limit", default_limit)
        page = await queries.page(where, limit=limit, cursor=_text(request, "cursor") or None)
    except ValueError as error:
        return error_response(400, str(error) if isinstance(error, ParameterError) else "cursor: invalid")
    response = json_response([trace_json(trace) for trace in page.traces])
    if page.next is not None:
        query = request.GET.copy()
        query["cursor"] = page.next
        response["X-Next-Cursor"] = page.next
        response["Link"] = f'<{request.path}?{query.urlencode()}>; rel="next"'
    return response


def _filter(request: HttpRequest, status: str) -> queries.TraceFilter:
    key = _text(request, "key")
    return queries.TraceFilter(
        id=_text(request, "id"),
        status=status or _text(request, "status"),
        end_reason=_text(request, "endReason"),
        model=_text(request, "model"),
        dialect=_text(request, "dialect"),
        engine=_text(request, "engine"),
        upstream_request_id=_text(request, "upstreamRequestId"),
        claude_code_session_id=_text(request, "claudeCodeSessionId"),
        agent=_text(request, "agent"),
        key_id=int(key) if key.isdecimal() and len(key) < 19 else None,
        key_label="" if key.isdecimal() else key,
        conversation_id=_text(request, "session"),
        error_type=_text(request, "errorType"),
        error_phase=_text(request, "errorPhase"),
        since=_moment(request, "since"),
        until=_moment(request, "until"),
        min_duration_ms=_number(request, "minDurationMs", 0) or None,
    )


def _text(request: HttpRequest, name: str) -> str:
    value = request.GET.get(name, "")
    if len(value) > _MAX_TEXT_PARAM or "\x00" in value:
        raise ParameterError(f"{name}: at most {_MAX_TEXT_PARAM} characters, without NUL")
    return value


def _number(request: HttpRequest, name: str, default: int) -> int:
    value = _text(request, name)
    if not value:
        return default
    if not value.isdecimal() or len(value) > 12:
        raise ParameterError(f"{name}: must be a whole number")
    return int(value)


def _moment(request: HttpRequest, name: str) -> datetime | None:
    value = _text(request, name)
    if not value:
        return None
    try:
        at = datetime.fromtimestamp(float(value), UTC) if value[0].isdecimal() and "-" not in value else _iso(value)
    except (ValueError, OverflowError, OSError):
        raise ParameterError(f"{name}: must be an ISO 8601 time or Unix seconds") from None
    return at


def _iso(value: str) -> datetime:
    at = datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _steps_so_far(draft: ActiveTrace, service: Service) -> Json:
    if draft.steps is None:
        return {}
    steps = steps_of(draft, service.redactor, final=False)
    return steps_json(steps, omitted=draft.steps.omitted, received_at=draft.received_at)


async def _steps(trace: Trace) -> Json:
    kept = await queries.agent_steps(trace.pk) if trace.agent else None
    if kept is None:
        return {}
    return steps_json(kept.steps, omitted=kept.omitted, received_at=trace.received_at.timestamp())


async def _session(trace: Trace) -> Json | None:
    if not trace.conversation_id:
        return None
    earlier: Any = await queries.earlier_turns(trace)
    return {"conversationId": trace.conversation_id, "isResuming": earlier > 0, "resumeCount": earlier}
