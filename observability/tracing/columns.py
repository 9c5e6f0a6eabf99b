"""Database columns of a trace, its error dump and stored bodies. Pure.

Untrusted text is sanitized here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from apiproxy.core.errors import FailureKind
from apiproxy.core.text import storable
from apiproxy.core.turns import Turn
from observability.models import ID_CHARS, MESSAGE_CHARS, NAME_CHARS, UNPRICED_CHARS
from observability.tracing.body_stats import strings_of
from observability.tracing.prompt_masking import Prompt
from observability.tracing.redact import Redactor
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Phase, Status

_MAX_COUNT = 2**62
_SHOWN_OPTIONS = ("max_tokens", "temperature", "top_p", "top_k", "thinking", "tool_choice", "service_tier")
_TYPES = frozenset({"enabled", "disabled", "adaptive", "auto", "any", "tool", "none"})
_MESSAGES_WITHOUT_QUOTES = frozenset(
    {
        FailureKind.QUEUE_FULL,
        FailureKind.QUEUE_TIMEOUT,
        FailureKind.DRAINING,
        FailureKind.RATE_LIMITED,
        FailureKind.BUDGET_SPENT,
    }
)
"""Failures whose messages never quote the prompt: masking is skipped, since it is slow and they occur under load."""
_MAX_BODY_BYTES = 2 * 2**20
"""Maximum size of a stored request body."""

WITHHELD = "[withheld]"
"""Replaces text that cannot be masked because the request body has been released."""


def moment(at: float | None) -> datetime | None:
    """UTC datetime of a Unix time."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


def span_ms(start: float | None, end: float | None) -> int | None:
    """Whole milliseconds from start to end, at least 0; None if either is missing."""
    return None if start is None or end is None else max(0, round((end - start) * 1000))


def trace_values(
    trace: ActiveTrace, *, final: bool, node: str, redactor: Redactor, process: str = ""
) -> dict[str, Any]:
    """Columns of the trace row. Unless `final`, those of a running request even if it has just ended."""
    values = _request(trace) | {"node": node, "process": process}
    values |= {"status": Status.ACTIVE.value, "phase": trace.phase.value, "end_reason": ""}
    values |= _phases(trace)
    values |= _output(trace)
    values |= _failure(trace, redactor)
    if final:
        values |= {"status": trace.status.value, "end_reason": trace.end_reason.value if trace.end_reason else ""}
    else:
        values |= {"finished_at": None, "duration_ms": None}
        if trace.phase is Phase.FINISHED:  # ended in the meantime: the final row follows
            values["phase"] = Phase.RECEIVED.value
    return values


def _request(trace: ActiveTrace) -> dict[str, Any]:
    turn, caller, stats = trace.turn, trace.turn.caller, trace.body_stats
    return {
        "id": storable(turn.id, ID_CHARS),
        "key_id": caller.key_id,
        "key_label": storable(caller.key_label, NAME_CHARS),
        "dialect": turn.dialect,
        "engine": trace.engine,
        "requested_model": storable(turn.requested_model, NAME_CHARS),
        "model": storable(turn.model, NAME_CHARS),
        "agent": storable(trace.agent, NAME_CHARS),
        "conversation_id": storable(turn.conversation_id, NAME_CHARS) if turn.conversation_id else None,
        "claude_code_session_id": _header(turn, "x-claude-code-session-id") or None,
        "claude_code_agent_id": _header(turn, "x-claude-code-agent-id"),
        "claude_code_parent_agent_id": _header(turn, "x-claude-code-parent-agent-id"),
        "client_ip": storable(caller.client_ip, 64),
        "user_agent": storable(caller.user_agent, 300),
        "stream": turn.stream,
        "thinking": stats.thinking,
        "tool_count": stats.tool_count,
        "message_count": stats.message_count,
        "prompt_chars": stats.prompt_chars,
        "system_chars": stats.system_chars,
        "body_bytes": turn.body_bytes,
    }


def _header(turn: Turn, name: str) -> str:
    return storable(turn.headers.get(name, ""), NAME_CHARS)


def _phases(trace: ActiveTrace) -> dict[str, Any]:
    received = trace.received_at
    return {
        "received_at": moment(received),
        "queued_at": moment(trace.queued_at),
        "admitted_at": moment(trace.admitted_at),
        "worker_ready_at": moment(trace.worker_ready_at),
        "first_event_at": moment(trace.first_event_at),
        "first_token_at": moment(trace.first_token_at),
        "last_event_at": moment(trace.last_event_at),
        "finished_at": moment(trace.finished_at),
        "queue_ms": span_ms(trace.queued_at, trace.admitted_at),
        "ttft_ms": span_ms(received, trace.first_token_at),
        "duration_ms": span_ms(received, trace.finished_at),
    }


def _output(trace: ActiveTrace) -> dict[str, Any]:
    usage, types = trace.usage, trace.event_types.copy()
    return {
        "upstream_request_id": storable(trace.upstream_request_id, NAME_CHARS) or None,
        "stop_reason": storable(trace.stop_reason or "", 64),
        "input_tokens": _bounded(usage.input_tokens),
        "output_tokens": _bounded(usage.output_tokens),
        "cache_read_tokens": _bounded(usage.cache_read_input_tokens),
        "cache_creation_tokens": _bounded(usage.cache_creation_input_tokens),
        "cost_micro_usd": None if usage.cost_usd is None else _bounded(round(usage.cost_usd * 1_000_000)),
        "usage_estimated": usage.estimated,
        "unpriced": storable(", ".join(usage.unpriced), UNPRICED_CHARS),
        "output_chars": trace.output_chars,
        "tool_calls": trace.tool_calls if trace.steps is None else trace.steps.tool_calls,
        "model_calls": 0 if trace.steps is None else trace.steps.model_calls,
        "event_count": sum(types.values()),
        "event_types": {storable(kind, 64): count for kind, count in types.items()},
        "stalls": trace.stalls,
        "retries": trace.retries,
        "worker_pid": trace.worker_pid,
    }


def _failure(trace: ActiveTrace, redactor: Redactor) -> dict[str, Any]:
    failure = trace.failure
    if failure is None:
        return {
            "error_type": "", "error_message": "", "error_phase": "", "upstream_status": None, "upstream_type": "",
        }  # fmt: skip
    upstream = failure.error.upstream
    return {
        "error_type": failure.error.kind.value,
        "error_message": message_of(trace, redactor),
        "error_phase": failure.phase.value,
        "upstream_status": upstream.status if upstream else None,
        "upstream_type": storable(upstream.type, 64) if upstream else "",
    }


def message_of(trace: ActiveTrace, redactor: Redactor) -> str:
    """Error message without secrets or prompt quotes; empty if the turn did not fail."""
    if trace.failure is None:
        return ""
    error = trace.failure.error
    if error.kind in _MESSAGES_WITHOUT_QUOTES:
        return redactor.text(error.message, prompt=None, limit=MESSAGE_CHARS)
    if trace.body is None:
        return WITHHELD
    return redactor.text(error.message, prompt=prompt_of(trace), limit=MESSAGE_CHARS)


def prompt_of(trace: ActiveTrace) -> Prompt | None:
    """Prompt to mask in stored text; None if the key stores bodies."""
    if trace.turn.caller.store_bodies or trace.body is None:
        return None
    return Prompt(strings_of(trace.body))


def dump_values(trace: ActiveTrace, values: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Error dump of a failed run. values: the columns of its trace."""
    failure = trace.failure
    assert failure is not None
    upstream = failure.error.upstream
    body, prompt = trace.body, prompt_of(trace)
    phases = [name for name in values if name.endswith("_at") and values[name] is not None]
    return {
        "error": {
            "type": failure.error.kind.value,
            "message": values["error_message"],
            "phase": failure.phase.value,
            "param": storable(failure.error.param, NAME_CHARS) if failure.error.param else None,
            "retryAfterS": failure.error.retry_after_s,
        },
        "upstream": {"status": upstream.status, "type": storable(upstream.type, 64)} if upstream else None,
        "phases": {name.removesuffix("_at"): values[name].isoformat() for name in phases},
        "timings": {name: values[name] for name in ("queue_ms", "ttft_ms", "duration_ms")},
        "request": {
            "model": values["model"],
            "betas": [storable(beta, NAME_CHARS) for beta in trace.turn.betas[:32]],
            "options": _options(body or {}),
            "messages": values["message_count"],
            "tools": values["tool_count"],
            "bytes": values["body_bytes"],
        },
        "retries": trace.retries,
        "stalls": trace.stalls,
        "eventTypes": values["event_types"],
        "lastEvent": trace.last_event_type,
        "workerPid": trace.worker_pid,
        "diagnostics": redactor.value(failure.diagnostics, prompt=prompt) if body is not None else WITHHELD,
    }


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Model options of the request: numbers, booleans and known `type` values only."""
    shown: dict[str, Any] = {}
    for name in _SHOWN_OPTIONS:
        value = body.get(name)
        if isinstance(value, bool | int | float):
            shown[name] = value
        elif isinstance(value, dict):
            shown[name] = {key: item for key, item in value.items() if isinstance(item, bool | int | float)}
            if value.get("type") in _TYPES:
                shown[name]["type"] = value["type"]
    return shown


def body_values(trace: ActiveTrace, redactor: Redactor) -> dict[str, Any]:
    """Request and answer for a key that stores bodies, without credentials.

    The request is None if it is too large.
    """
    body, answer = trace.body, trace.answer
    small = body is not None and trace.turn.body_bytes <= _MAX_BODY_BYTES
    return {
        "request": redactor.body(dict(body or {})) if small else None,
        "answer": {"content": redactor.body(answer.content()), "cut": answer.cut} if answer is not None else None,
    }


def _bounded(count: int) -> int:
    return min(_MAX_COUNT, max(0, count))
