"""JSON of a trace, its parts, and an error dump."""

from collections.abc import Sequence
from datetime import datetime

from observability.models import ErrorDump, Trace
from observability.serialize.values import Json, chars_per_s, iso_time
from observability.tracing.columns import span_ms
from observability.tracing.step_values import StepJson

_PHASES = (
    "received", "queued", "admitted", "worker_ready", "first_event", "first_token", "last_event", "finished",
)  # fmt: skip


def trace_json(trace: Trace) -> Json:
    """A trace, as stored."""
    return {
        "reqId": trace.id,
        "dialect": trace.dialect,
        "engine": trace.engine or None,
        "model": trace.model,
        "agent": trace.agent or None,
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
        "charsPerSec": chars_per_s(trace.output_chars, _unix(trace.first_token_at), _unix(trace.last_event_at)),
        "toolCallCount": trace.tool_calls,
        "modelCallCount": trace.model_calls if trace.agent else None,
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


def steps_json(steps: Sequence[StepJson], *, omitted: int, received_at: float) -> Json:
    """Steps of an agent. omitted: number of later steps that were not kept. received_at: Unix time."""
    return {"steps": [_step_json(step, received_at) for step in steps], "stepsOmitted": omitted}


def _step_json(step: StepJson, received_at: float) -> Json:
    begun = received_at + step["at_ms"] / 1000
    return {
        "id": step["id"],
        "parentId": step["parent"] or None,
        "kind": step["kind"],
        "name": step["name"],
        "modelCall": step["call"],
        "startedAt": iso_time(begun),
        "durationMs": step["ms"],
        "failed": step["failed"],
        "error": step["error"] or None,
        "usage": step["usage"],
        "costUsdEstimate": step["cost_usd"],
    }


def dump_json(dump: ErrorDump) -> Json:
    """An error dump and its trace."""
    return trace_json(dump.trace) | {"dumpedAt": dump.created_at.isoformat(), "dump": dump.data}


def _unix(at: datetime | None) -> float | None:
    return at.timestamp() if at else None
