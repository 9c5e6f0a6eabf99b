"""JSON of what runs now: active requests, workers, serve processes, settings."""

from pathlib import Path

from apiproxy.conf import GatewaySettings
from observability.agent_payloads import AgentProgress
from observability.cluster.states import ActiveRun, MemberState
from observability.payloads import Queue, Upstream, WorkerRow
from observability.serialize.values import Json, chars_per_s, human_duration, iso_time
from observability.tracing.columns import span_ms


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
        "charsPerSec": chars_per_s(run["chars"], run["first"], run["last"]),
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
        "agent": agent_json(run.get("agent")),
        "node": run["node"],
        "process": run["process"],
        "startedAt": iso_time(run["received"]),
    }


def agent_json(agent: AgentProgress | None) -> Json | None:
    """Position of a running agent."""
    if agent is None:
        return None
    return {
        "name": agent["name"],
        "modelCall": agent["call"],
        "maxModelCalls": agent["max_calls"],
        "step": {"kind": agent["kind"], "name": agent["doing"]} if agent["kind"] else None,
        "runningToolCalls": agent["parallel"],
        "toolCallCount": agent["tools"],
        "costUsdEstimate": agent["cost"],
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
        "startedAt": iso_time(worker["started"]),
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
