"""Synthetic traces with realistic distributions, for testing pages and statistics on large databases."""

import random
import string
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from apiproxy.core.errors import FailureKind
from observability.tracing.columns import span_ms
from observability.tracing.synthetic_steps import AGENTS, run_of
from observability.vocabulary import EndReason, Phase, end_reason_of, status_of

MODELS = {"claude-sonnet-4-5": 60, "claude-haiku-4-5": 25, "claude-opus-4-5": 12, "claude-opus-4-1": 3}
_KEYS = ("platform", "search", "support-bot", "mobile", "research", "nightly-batch", "internal-tools", "ci")
_FAILURES = {
    FailureKind.UPSTREAM_ERROR: 40,
    FailureKind.CLIENT_DISCONNECT: 60,
    FailureKind.RATE_LIMITED: 40,
    FailureKind.INVALID_REQUEST: 20,
    FailureKind.QUEUE_TIMEOUT: 10,
    FailureKind.STALL: 8,
    FailureKind.WORKER_DIED: 3,
    FailureKind.MAX_DURATION: 1,
    FailureKind.CANCELLED: 2,
}
_AGENT_SHARE = 0.08
_SLUGS = {agent.slug for agent in AGENTS}
_BASE62 = string.digits + string.ascii_letters
_FAILURE_SHARE = 0.06
_NOT_FAILURES = (FailureKind.CLIENT_DISCONNECT, FailureKind.CANCELLED)
_UPSTREAM = ((529, "overloaded_error"), (429, "rate_limit_error"), (500, "api_error"))


def synthetic_traces(count: int, *, days: float, until: datetime, seed: int) -> Iterator[dict[str, Any]]:
    """Columns of `count` ended traces, oldest first, received in the `days` before `until`; deterministic.

    Those of agents have `steps` too.
    """
    rng = random.Random(seed)  # noqa: S311 - not used for secrets
    step = timedelta(days=days) / max(1, count)
    start = until - timedelta(days=days) - timedelta(seconds=1)
    for number in range(count):
        yield _trace(rng, number, start + step * (number + rng.random()), "req_" + "".join(rng.choices(_BASE62, k=24)))


def _trace(rng: random.Random, number: int, received: datetime, trace_id: str) -> dict[str, Any]:
    agent = rng.choice(AGENTS) if rng.random() < _AGENT_SHARE else None
    model = agent.slug if agent else rng.choices(list(MODELS), list(MODELS.values()))[0]
    key = min(int(rng.expovariate(0.5)), len(_KEYS) - 1)
    kind = rng.choices(list(_FAILURES), list(_FAILURES.values()))[0] if rng.random() < _FAILURE_SHARE else None
    reason = end_reason_of(kind) if kind else EndReason.COMPLETED
    trace = _request(rng, number, key=key, model=model) | {"id": trace_id, "received_at": received}
    trace |= {"status": status_of(reason).value, "end_reason": reason.value, "phase": Phase.FINISHED.value}
    trace |= _phase_times(rng, received, reason)
    trace |= _usage(rng, trace) | {"agent": "", "model_calls": 0}
    if agent is not None:
        trace |= run_of(rng, agent, trace)
    if kind is not None and kind not in _NOT_FAILURES:
        trace |= _error(rng, kind, trace)
    return trace


def _request(rng: random.Random, number: int, *, key: int, model: str) -> dict[str, Any]:
    has_session, prompt = rng.random() < 0.7, int(rng.lognormvariate(8, 1.5))
    return {
        "node": "synthetic",
        "process": "",
        "key_id": key + 1,
        "key_label": _KEYS[key],
        "dialect": rng.choices(["anthropic", "openai"], [7, 3])[0],
        "engine": "agents" if model in _SLUGS else "sdk",
        "upstream_request_id": None,
        "claude_code_session_id": None,
        "claude_code_agent_id": "",
        "claude_code_parent_agent_id": "",
        "requested_model": model,
        "model": model,
        "conversation_id": f"conversation-{number // 12 - rng.randrange(5)}" if has_session else None,
        "client_ip": f"192.0.2.{rng.randrange(1, 255)}",
        "user_agent": "Anthropic/Python 2.12.0",
        "stream": rng.random() < 0.8,
        "thinking": rng.random() < 0.3,
        "tool_count": rng.choice((0, 0, 3, 12)),
        "message_count": rng.randrange(1, 30),
        "prompt_chars": prompt,
        "system_chars": rng.choice((0, 900, 12_000)),
        "body_bytes": prompt + 600,
        "worker_pid": rng.randrange(1000, 30_000),
        "stalls": 0,
        "retries": int(rng.random() < 0.01),
    }


def _phase_times(rng: random.Random, received: datetime, reason: EndReason) -> dict[str, Any]:
    """Phase times and durations; None for a refused request."""
    phases: dict[str, datetime | None] = dict.fromkeys(
        ("queued_at", "admitted_at", "worker_ready_at", "first_event_at", "first_token_at", "last_event_at"), None
    )
    at = received
    if reason is not EndReason.REFUSED:
        waits = (
            0.001,
            rng.expovariate(1 / 0.4) if rng.random() < 0.2 else 0.0002,
            0.004,
            rng.lognormvariate(-0.6, 0.5),
        )
        for name, wait in zip(phases, (*waits, 0.02, rng.lognormvariate(1.5, 0.9)), strict=True):
            if reason is EndReason.QUEUE_TIMEOUT and name == "admitted_at":
                at = received + timedelta(seconds=30)
                break
            at += timedelta(seconds=wait)
            phases[name] = at
    finished = at + timedelta(seconds=0.002 if reason is not EndReason.STALL else 120)
    return {
        **phases,
        "finished_at": finished,
        "queue_ms": _ms(phases["queued_at"], phases["admitted_at"]),
        "ttft_ms": _ms(received, phases["first_token_at"]),
        "duration_ms": _ms(received, finished),
    }


def _usage(rng: random.Random, trace: dict[str, Any]) -> dict[str, Any]:
    ran = trace["first_token_at"] is not None
    output = int(rng.lognormvariate(5.5, 1)) if ran else 0
    inputs, cached = (trace["prompt_chars"] // 4, trace["system_chars"] // 4) if ran else (0, 0)
    calls = int(ran and trace["tool_count"] > 0 and rng.random() < 0.5)
    types = {"message_start": 1, "content_block_start": 1, "content_block_delta": output, "message_stop": 1}
    return {
        "stop_reason": ("tool_use" if calls else "end_turn") if trace["end_reason"] == EndReason.COMPLETED else "",
        "input_tokens": inputs,
        "output_tokens": output,
        "cache_read_tokens": cached,
        "cache_creation_tokens": 0,
        "usage_estimated": False,
        "cost_micro_usd": inputs * 3 + output * 15 + cached // 3 if ran else None,
        "unpriced": "",
        "output_chars": output * 4,
        "tool_calls": calls,
        "event_count": output + 3 if ran else 0,
        "event_types": types if ran else {},
    } | {"error_type": "", "error_message": "", "error_phase": "", "upstream_status": None, "upstream_type": ""}


def _error(rng: random.Random, kind: FailureKind, trace: dict[str, Any]) -> dict[str, Any]:
    upstream = rng.choice(_UPSTREAM) if kind is FailureKind.UPSTREAM_ERROR else None
    reached = [name.removesuffix("_at") for name in ("queued_at", "admitted_at", "worker_ready_at") if trace[name]]
    return {
        "error_type": kind.value,
        "error_message": f"A synthetic {kind.value.replace('_', ' ')}.",
        "error_phase": reached[-1] if reached else Phase.RECEIVED.value,
        "upstream_status": upstream[0] if upstream else None,
        "upstream_type": upstream[1] if upstream else "",
    }


def _ms(start: datetime | None, end: datetime | None) -> int | None:
    return span_ms(start.timestamp() if start else None, end.timestamp() if end else None)
