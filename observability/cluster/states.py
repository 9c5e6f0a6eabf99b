"""What a process tells the others of itself, and what is made of it: pure but for the looks at the process itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from observability.payloads import Load, ProcessRow, Queue, RunRow, Upstream, WorkerRow, run_row
from observability.tracing.trace_builder import ActiveTrace

MAX_TOLD_RUNS = 300
"""Runs that a process tells of, the oldest first."""


class ActiveRun(RunRow):
    """A request under way, with all that /debug shows of it; `ready` and `first` are Unix times."""

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


class MemberState(TypedDict):
    """A process: who it is and what it does. at: Unix time of this state; rss in bytes, of the process alone.

    active: requests under way, those that it does not tell of included. load: not told by versions before this one.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This process among those that share the database. process: its name there, by which no other is called."""

    process: str
    node: str
    pid: int

    @property
    def label(self) -> str:
        """For people."""
        return label_of(self.node, self.pid)


def label_of(node: str, pid: int) -> str:
    """A process as the dashboard names it."""
    return f"{node}:{pid}"


def active_run(draft: ActiveTrace, here: Here) -> ActiveRun:
    """The request as another process shows it."""
    turn, facts = draft.turn, draft.facts
    return {
        **run_row(draft, node=here.node, process=here.label),
        "requested_model": turn.requested_model,
        "queue_position": draft.queue_position,
        "has_tools": facts.tool_count > 0,
        "thinking": facts.thinking,
        "ready": draft.worker_ready_at,
        "first": draft.first_token_at,
        "last_event_type": draft.last_event_type,
        "prompt_chars": facts.prompt_chars,
        "system_chars": facts.system_chars,
        "body_bytes": turn.body_bytes,
        "client_ip": turn.caller.client_ip,
        "key_id": turn.caller.key_id,
        "conversation_id": turn.conversation_id,
        "worker_pid": draft.worker_pid,
    }


def row_of(run: ActiveRun) -> RunRow:
    """What of it the dashboard's table shows."""
    return {name: run[name] for name in RunRow.__annotations__}  # type: ignore[literal-required,return-value]  # its own


def process_row(state: MemberState) -> ProcessRow:
    """The process as the dashboard shows it."""
    return {
        "process": label_of(state["node"], state["pid"]),
        "node": state["node"],
        "pid": state["pid"],
        "started": state["started"],
        "queue": state["queue"],
        "rss": state["rss"],
        "workers": len(state["workers"]),
    }


def sum_of(queues: Iterable[Queue]) -> Queue:
    """All of them as one."""
    found = list(queues)
    return {
        "active": sum(queue["active"] for queue in found),
        "waiting": sum(queue["waiting"] for queue in found),
        "max": sum(queue["max"] for queue in found),
    }


def worst_of(upstreams: Iterable[Upstream]) -> Upstream:
    """What to show of all of them: one that is not asked, or else the one with the most failures."""
    return max(upstreams, key=lambda upstream: (upstream["state"] != "closed", upstream["failures"]))


def holder_of(states: Sequence[MemberState], *, run: str = "", worker: str = "") -> str | None:
    """The process that has the request, or the worker."""
    for state in states:
        if any(it["id"] == run for it in state["runs"]) or any(it["id"] == worker for it in state["workers"]):
            return state["process"]
    return None
