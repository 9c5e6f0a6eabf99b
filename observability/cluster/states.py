"""Member states exchanged between processes, and their aggregation. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from apiproxy.core.turns import EngineName
from apiproxy.runs.admission import QueueSnapshot
from observability.agent_payloads import McpRow
from observability.payloads import EngineQueue, Load, ProcessRow, Queue, RunRow, Upstream, WorkerRow, run_row
from observability.tracing.trace_builder import ActiveTrace

MAX_REPORTED_RUNS = 300
"""Maximum runs in a member state, oldest first."""


class ActiveRun(RunRow):
    """A running request, with the fields shown by /debug. `ready` and `first` are Unix times."""

    requested_model: str
    queue_position: int
    has_tools: bool
    thinking: bool
    ready: float | None
    first: float | None
    last_event_type: str
    prompt_chars: int
    system_chars: int
    body_bytes: int
    client_ip: str
    key_id: int | None
    conversation_id: str | None
    worker_pid: int | None
    upstream_request_id: str
    claude_code_session_id: str
    claude_code_agent_id: str
    claude_code_parent_agent_id: str


class MemberState(TypedDict):
    """State of a process. at: Unix time of the state. rss: bytes, without workers.

    active: all running requests, including those beyond `MAX_REPORTED_RUNS`. load, mcp: absent in older versions.
    """

    process: str
    node: str
    pid: int
    started: float
    at: float
    rss: int
    queue: Queue
    upstream: Upstream
    active: int
    runs: list[ActiveRun]
    workers: list[WorkerRow]
    load: NotRequired[Load]
    mcp: NotRequired[list[McpRow]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Identity of this process. process: its unique name in the cluster."""

    process: str
    node: str
    pid: int

    @property
    def label(self) -> str:
        """Human-readable name."""
        return label_of(self.node, self.pid)


def label_of(node: str, pid: int) -> str:
    """Process name shown in the dashboard."""
    return f"{node}:{pid}"


def active_run(trace: ActiveTrace, identity: Identity) -> ActiveRun:
    """Entry of a running request in a member state."""
    turn, stats = trace.turn, trace.body_stats
    return {
        **run_row(trace, node=identity.node, process=identity.label),
        "requested_model": turn.requested_model,
        "queue_position": trace.queue_position,
        "has_tools": stats.tool_count > 0,
        "thinking": stats.thinking,
        "ready": trace.worker_ready_at,
        "first": trace.first_token_at,
        "last_event_type": trace.last_event_type,
        "prompt_chars": stats.prompt_chars,
        "system_chars": stats.system_chars,
        "body_bytes": turn.body_bytes,
        "client_ip": turn.caller.client_ip,
        "key_id": turn.caller.key_id,
        "conversation_id": turn.conversation_id,
        "worker_pid": trace.worker_pid,
        "upstream_request_id": trace.upstream_request_id,
        "claude_code_session_id": turn.headers.get("x-claude-code-session-id", ""),
        "claude_code_agent_id": turn.headers.get("x-claude-code-agent-id", ""),
        "claude_code_parent_agent_id": turn.headers.get("x-claude-code-parent-agent-id", ""),
    }


def row_of(run: ActiveRun) -> RunRow:
    """The subset of fields shown in the dashboard table."""
    row = {name: run[name] for name in RunRow.__annotations__ if name in run}  # type: ignore[literal-required]  # keys of RunRow
    return {"engine": "", "agent": None, **row}  # type: ignore[typeddict-item]  # an older version names no engine


def process_row(state: MemberState) -> ProcessRow:
    """Dashboard row of a process."""
    return {
        "process": label_of(state["node"], state["pid"]),
        "node": state["node"],
        "pid": state["pid"],
        "started": state["started"],
        "queue": state["queue"],
        "rss": state["rss"],
        "workers": len(state["workers"]),
    }


def queue_of(by_engine: Mapping[EngineName, QueueSnapshot]) -> Queue:
    """Queue of one process."""
    queues: dict[str, EngineQueue] = {
        name: {"active": queue.active, "waiting": queue.waiting, "max": queue.max} for name, queue in by_engine.items()
    }
    return {**_sum(queues.values()), "by_engine": queues}


def total_queue(queues: Iterable[Queue]) -> Queue:
    """Sum of several processes' queues, by engine too."""
    found = list(queues)
    engines = [queue.get("by_engine", {"sdk": queue}) for queue in found]  # older versions had one engine
    names = sorted({name for by_engine in engines for name in by_engine}, reverse=True)
    by_engine = {name: _sum(queues[name] for queues in engines if name in queues) for name in names}
    return {**_sum(found), "by_engine": by_engine}


def _sum(queues: Iterable[EngineQueue]) -> EngineQueue:
    found = list(queues)
    return {
        "active": sum(queue["active"] for queue in found),
        "waiting": sum(queue["waiting"] for queue in found),
        "max": sum(queue["max"] for queue in found),
    }


def worst_upstream(upstreams: Iterable[Upstream]) -> Upstream:
    """The state to show for the cluster: an open circuit first, then the most failures."""
    return max(upstreams, key=lambda upstream: (upstream["state"] != "closed", upstream["failures"]))


def owner_of(states: Sequence[MemberState], *, run: str = "", worker: str = "") -> str | None:
    """Name of the process that has the run or the worker."""
    for state in states:
        if any(it["id"] == run for it in state["runs"]) or any(it["id"] == worker for it in state["workers"]):
            return state["process"]
    return None
