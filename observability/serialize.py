"""JSON of /debug, with the names of API.md. Times are milliseconds unless a name says otherwise."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apiproxy.conf import GatewaySettings
from observability.cluster.states import ActiveRun, MemberState
from observability.models import ErrorDump, Trace
from observability.payloads import Queue, Upstream, WorkerRow
from observability.stats.figures import Group, Percentiles, Totals
from observability.tracing.columns import span_ms

Json = dict[str, Any]

_PHASES = (
    "received", "queued", "admitted", "worker_ready", "first_event", "first_token", "last_event", "finished",
)  # fmt: skip


def active_json(run: ActiveRun, *, now: float) -> Json:
    """An active request."""
    return {
        "reqId": run["id"],
        "dialect": run["dialect"],
        "engine": run.get("engine") or None,
        "model": run["model"],
        "requestedModel": run["requested_model"],
        "phase": run["phase"],
        "queuePosition": run["queue_position"],
        "stream": run["stream"],
        "hasTools": run["has_tools"],
        "thinking": run["thinking"],
        "elapsedMs": span_ms(run["received"], now),
        "timeSinceLastEventMs": span_ms(run["last"] or run["ready"] or run["received"], now),
        "ttftMs": run["ttft_ms"],
        "lastEventType": run["last_event_type"] or None,
        "sdkEventCount": run["events"],
        "outputLen": run["chars"],
        "charsPerSec": _rate(run["chars"], run["first"], run["last"]),
        "stallCount": run["stalls"],
        "retries": run["retries"],
        "promptLen": run["prompt_chars"],
        "systemLen": run["system_chars"],
        "bodyBytes": run["body_bytes"],
        "clientIp": run["client_ip"],
        "keyId": run["key_id"],
        "key": run["key"],
        "conversationId": run["conversation_id"],
        "workerPid": run["worker_pid"],
        "upstreamRequestId": run.get("upstream_request_id") or None,
        "claudeCodeSessionId": run.get("claude_code_session_id") or None,
        "claudeCodeAgentId": run.get("claude_code_agent_id") or None,
        "claudeCodeParentAgentId": run.get("claude_code_parent_agent_id") or None,
        "node": run["node"],
        "process": run["process"],
        "startedAt": _iso(run["received"]),
    }


def settings_json(gateway: GatewaySettings, cli: Path | None) -> Json:
    """Settings shown to operators; no secrets."""
    return {
        "stallTimeoutMs": gateway.stall_timeout_ms,
        "maxDurationMs": gateway.max_duration_ms,
        "maxOutputChars": gateway.max_output_chars,
        "engine": gateway.engine,
        "maxConcurrent": gateway.max_concurrent,
        "httpMaxConcurrent": gateway.http_max_concurrent,
        "queueTimeoutMs": gateway.queue_timeout_ms,
        "queueMax": gateway.queue_max,
        "warmWorkers": gateway.warm_workers,
        "claudeExecutable": str(cli or ""),
        "logDir": str(gateway.log_dir),
        "debug": gateway.debug,
        "credential": gateway.credential.kind,
    }


def trace_json(trace: Trace) -> Json:
    """A trace, as stored."""
    return {
        "reqId": trace.id,
        "dialect": trace.dialect,
        "engine": trace.engine or None,
        "model": trace.model,
        "requestedModel": trace.requested_model,
        "status": trace.status,
        "phase": trace.phase,
        "endReason": trace.end_reason or None,
        "stopReason": trace.stop_reason or None,
        "stream": trace.stream,
        "hasTools": trace.tool_count > 0,
        "toolCount": trace.tool_count,
        "thinking": trace.thinking,
        "msgCount": trace.message_count,
        "promptLen": trace.prompt_chars,
        "systemLen": trace.system_chars,
        "bodyBytes": trace.body_bytes,
        "clientIp": trace.client_ip,
        "userAgent": trace.user_agent,
        "keyId": trace.key_id,
        "key": trace.key_label,
        "startedAt": trace.received_at.isoformat(),
        "finishedAt": trace.finished_at.isoformat() if trace.finished_at else None,
        "timings": timings_json(trace),
        "phases": phases_json(trace),
        "outputLen": trace.output_chars,
        "charsPerSec": _rate(trace.output_chars, _unix(trace.first_token_at), _unix(trace.last_event_at)),
        "toolCallCount": trace.tool_calls,
        "sdkEventCount": trace.event_count,
        "eventTypes": trace.event_types,
        "stallCount": trace.stalls,
        "retries": trace.retries,
        **usage_json(trace),
        "session": {"conversationId": trace.conversation_id} if trace.conversation_id else None,
        "error": error_json(trace),
        "workerPid": trace.worker_pid,
        "upstreamRequestId": trace.upstream_request_id,
        "claudeCodeSessionId": trace.claude_code_session_id,
        "claudeCodeAgentId": trace.claude_code_agent_id or None,
        "claudeCodeParentAgentId": trace.claude_code_parent_agent_id or None,
        "node": trace.node,
    }


def usage_json(trace: Trace) -> Json:
    """Token counts and their estimated cost."""
    return {
        "usage": {
            "input_tokens": trace.input_tokens,
            "output_tokens": trace.output_tokens,
            "cache_read_input_tokens": trace.cache_read_tokens,
            "cache_creation_input_tokens": trace.cache_creation_tokens,
        },
        "usageEstimated": trace.usage_estimated,
        "costUsdEstimate": None if trace.cost_micro_usd is None else trace.cost_micro_usd / 1_000_000,
        "costIncomplete": bool(trace.unpriced),
        "unpriced": trace.unpriced.split(", ") if trace.unpriced else [],
    }


def timings_json(trace: Trace) -> Json:
    """Durations of the parts of a request; None for parts not reached."""
    ready, first = _unix(trace.worker_ready_at), _unix(trace.first_token_at)
    return {
        "queueWaitMs": trace.queue_ms,
        "workerWaitMs": span_ms(_unix(trace.admitted_at), ready),
        "ttftMs": trace.ttft_ms,
        "ttftFromSdkMs": span_ms(ready, first),
        "sdkDurationMs": span_ms(ready, _unix(trace.finished_at)),
        "totalDurationMs": trace.duration_ms,
    }


def phases_json(trace: Trace) -> Json:
    """Start of each phase that was reached."""
    times = {name: getattr(trace, f"{name}_at") for name in _PHASES}
    return {name: at.isoformat() for name, at in times.items() if at is not None}


def error_json(trace: Trace) -> Json | None:
    """Error of a failed or rejected request."""
    if not trace.error_type:
        return None
    return {
        "type": trace.error_type,
        "message": trace.error_message,
        "phase": trace.error_phase,
        "upstreamStatus": trace.upstream_status,
        "upstreamType": trace.upstream_type or None,
    }


def dump_json(dump: ErrorDump) -> Json:
    """An error dump and its trace."""
    return trace_json(dump.trace) | {"dumpedAt": dump.created_at.isoformat(), "dump": dump.data}


def queue_json(queue: Queue) -> Json:
    """Slots and queue of one process or of all: the sum, and by engine."""
    by_engine = queue.get("by_engine", {})
    return {"active": queue["active"], "waiting": queue["waiting"], "max": queue["max"], "byEngine": by_engine}


def upstream_json(upstream: Upstream) -> Json:
    """State of the circuit breaker."""
    return {"state": upstream["state"], "failuresInARow": upstream["failures"], "timesGivenUp": upstream["opened"]}


def worker_json(worker: WorkerRow) -> Json:
    """One CLI process."""
    return {
        "id": worker["id"],
        "pid": worker["pid"],
        "state": worker["state"],
        "model": worker["model"],
        "reqId": worker["run"],
        "turns": worker["turns"],
        "rssBytes": worker["rss"],
        "startedAt": _iso(worker["started"]),
    }


def process_json(state: MemberState, *, now: float) -> Json:
    """One serve process, with its workers."""
    uptime = max(0.0, now - state["started"])
    return {
        "node": state["node"],
        "pid": state["pid"],
        "uptimeMs": round(uptime * 1000),
        "uptimeHuman": human_duration(uptime),
        "seenMsAgo": span_ms(state["at"], now),
        "queue": queue_json(state["queue"]),
        "activeRequests": state["active"],
        "rssBytes": state["rss"],
        "workers": [worker_json(worker) for worker in state["workers"]],
    }


def requests_json(totals: Totals, *, active: int) -> Json:
    """Totals over requests."""
    return {
        "total": totals.requests,
        "completed": totals.completed,
        "errors": totals.errors,
        "cancelled": totals.cancelled,
        "refused": totals.refused,
        "interrupted": totals.interrupted,
        "active": active,
        "errorRate": round(totals.error_rate, 4),
        "avgDurationMs": _whole(totals.avg_duration_ms),
        "avgTtftMs": _whole(totals.avg_ttft_ms),
        "avgQueueWaitMs": _whole(totals.avg_queue_ms),
        "maxDurationMs": totals.max_duration_ms,
        "charsPerSec": _whole(totals.chars_per_s),
        "tokensPerSec": _whole(totals.tokens_per_s),
        "stalls": totals.stalls,
        "retries": totals.retries,
        "usage": {
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
            "cache_read_input_tokens": totals.cache_read_tokens,
            "cache_creation_input_tokens": totals.cache_creation_tokens,
        },
        "costUsdEstimate": round(totals.cost_usd, 6),
        "unpricedRequests": totals.unpriced,
    }


def model_json(group: Group) -> Json:
    """Totals of one model."""
    totals = group.totals
    return {
        "total": totals.requests,
        "errors": totals.errors + totals.interrupted,
        "avgDurationMs": _whole(totals.avg_duration_ms),
        "avgTtftMs": _whole(totals.avg_ttft_ms),
        "maxDurationMs": totals.max_duration_ms,
        "charsPerSec": _whole(totals.chars_per_s),
        "tokensPerSec": _whole(totals.tokens_per_s),
        "outputTokens": totals.output_tokens,
        "costUsdEstimate": round(totals.cost_usd, 6),
        "unpricedRequests": totals.unpriced,
        "lastErrorAt": _iso(group.last_error_at),
        "lastErrorReqId": group.last_error_id or None,
    }


def percentiles_json(distribution: Mapping[str, Percentiles]) -> Json:
    """Percentiles by metric."""
    names = {"queue": "queueWaitMs", "ttft": "ttftMs", "duration": "durationMs"}
    return {
        names[metric]: {share: None if value is None else round(value, 1) for share, value in shares.items()}
        for metric, shares in distribution.items()
    }


def human_duration(seconds: float) -> str:
    """A duration such as `2d 3h 4m 5s`, without leading zero parts."""
    rest, parts = int(seconds), list[str]()
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join([*parts, f"{rest}s"])


def _rate(chars: int, start: float | None, end: float | None) -> int | None:
    return round(chars / (end - start)) if start is not None and end is not None and end > start else None


def _unix(at: datetime | None) -> float | None:
    return at.timestamp() if at else None


def _iso(at: float | None) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat() if at else None


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)
