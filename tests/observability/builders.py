"""Turns, events and gateways for the tests of this folder."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from django.conf import settings

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.events import (
    Admitted,
    Cancelled,
    CancelReason,
    Event,
    Failed,
    Finished,
    Queued,
    Rejected,
    Step,
    StepKind,
    Stepped,
    Streamed,
    StreamEvent,
    Usage,
    WorkerReady,
)
from apiproxy.core.mcp_status import McpStatuses
from apiproxy.core.text import storable
from apiproxy.core.turns import Caller, EngineName, Turn, new_id
from apiproxy.engines.base import WorkerSnapshot
from apiproxy.gateway import Gateway as ProcessGateway
from apiproxy.gateway import gateway
from apiproxy.runs.admission import QueueSnapshot
from apiproxy.runs.circuit_breaker import BreakerSnapshot, BreakerState
from apiproxy.runs.runtime import Runtime
from observability.live.broadcast import Broadcaster
from observability.service import Service
from observability.tracing.trace_builder import ActiveTrace

NOW = 1_790_000_000.0
USAGE = Usage(100, 20, 30, 40, 0.0123)


def make_turn(
    *,
    at: float = NOW,
    body: Mapping[str, Any] | None = None,
    key_id: int | None = 7,
    store_bodies: bool = False,
    **changes: Any,
) -> Turn:
    caller = Caller(
        key_id=key_id,
        key_label="team" if key_id else "",
        client_ip="192.0.2.1",
        user_agent="Anthropic/Python 2.12.0",
        store_bodies=store_bodies,
    )
    body = {"max_tokens": 5, "messages": [{"role": "user", "content": "Hello there"}]} if body is None else body
    fields: dict[str, Any] = {
        "id": new_id("req_"),
        "dialect": "anthropic",
        "body": body,
        "model": "claude-sonnet-5",
        "requested_model": "sonnet",
        "stream": True,
        "caller": caller,
        "received_at": at,
        "body_bytes": 90,
        "conversation_id": None,
    }
    return Turn(**(fields | changes))


def text_delta(text: str) -> StreamEvent:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def message_start(**usage: int) -> StreamEvent:
    return {
        "type": "message_start",
        "message": {"id": "msg_1", "model": "claude-sonnet-5-20260101", "usage": usage or {"input_tokens": 100}},
    }


def opening(at: float = NOW) -> list[Event]:
    return [Queued(at + 0.001, 0), Admitted(at + 0.201), WorkerReady(at + 0.211, 4711)]


def answer(at: float = NOW, *texts: str) -> list[Event]:
    start: StreamEvent = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return [
        Streamed(at + 0.3, [message_start(), start]),
        *(Streamed(at + 0.4 + n / 10, [text_delta(text)]) for n, text in enumerate(texts or ("Hello", " you"))),
    ]


def finished(at: float = NOW, usage: Usage = USAGE) -> Finished:
    return Finished(at + 1.0, "end_turn", usage)


def failed(
    at: float = NOW, kind: FailureKind = FailureKind.UPSTREAM_ERROR, message: str = "Overloaded", **more: Any
) -> Failed:
    upstream = UpstreamError(529, "overloaded_error") if kind is FailureKind.UPSTREAM_ERROR else None
    return Failed(at + 1.0, ProxyError(kind, message, upstream=upstream), USAGE, more)


def refused(at: float = NOW, kind: FailureKind = FailureKind.UNAUTHENTICATED) -> Rejected:
    return Rejected(at + 0.002, ProxyError(kind, "invalid x-api-key"))


def left(at: float = NOW) -> Cancelled:
    return Cancelled(at + 0.8, CancelReason.CLIENT_DISCONNECT, USAGE)


def course(at: float = NOW, ending: Event | None = None) -> list[Event]:
    """All that happens in a run that goes well, or ends otherwise."""
    return [*opening(at), *answer(at), ending or finished(at)]


AGENT = AgentSpec(slug="support-bot", version=3, display_name="Support", model="claude-sonnet-5", max_calls=12)


def make_agent_turn(**changes: Any) -> Turn:
    fields: dict[str, Any] = {"model": AGENT.slug, "requested_model": AGENT.slug, "agent": AGENT, "engine": "agents"}
    return make_turn(**(fields | changes))


def step(
    step_id: str, kind: StepKind, name: str, *, at: float, length_s: float | None = None, **changes: Any
) -> Stepped:
    """A step that has begun, or has ended after `length_s`."""
    ended_at = None if length_s is None else at + length_s
    fields: dict[str, Any] = {
        "id": step_id, "kind": kind, "name": name, "number": 1, "started_at": at, "ended_at": ended_at,
    }  # fmt: skip
    return Stepped(ended_at or at, Step(**(fields | changes)))


def agent_steps(at: float = NOW) -> list[Event]:
    """Two model calls, and between them two parallel calls of tools, of which one fails."""
    model, tool = StepKind.MODEL_CALL, StepKind.TOOL_CALL
    search, note = "handbook/search", "tickets/note"
    usage = Usage(100, 20, 30, 0, 0.01)
    question, found = {"query": "opening hours"}, [{"type": "text", "text": "From 9 to 5"}]
    failed_call: dict[str, Any] = {"failed": True, "error": "The ticket of Jane Doe is closed"}
    return [
        step("m1", model, "claude-sonnet-5", at=at + 0.30),
        step("m1", model, "claude-sonnet-5", at=at + 0.30, length_s=0.2, usage=usage),
        step("t1", tool, search, at=at + 0.50, arguments=question),
        step("t2", tool, note, at=at + 0.51, arguments={"text": "asked"}),
        step("t2", tool, note, at=at + 0.51, length_s=0.04, **failed_call),
        step("t1", tool, search, at=at + 0.50, length_s=0.1, result=found),
        step("m2", model, "claude-sonnet-5", at=at + 0.61, number=2),
        step("m2", model, "claude-sonnet-5", at=at + 0.61, length_s=0.3, number=2, usage=usage),
    ]


def agent_course(at: float = NOW, ending: Event | None = None) -> list[Event]:
    """All that happens in an agent's run."""
    return [*opening(at), *agent_steps(at), *answer(at), ending or finished(at)]


def draft_of(turn: Turn, events: Sequence[Event]) -> ActiveTrace:
    draft = ActiveTrace(turn)
    for event in events:
        draft.apply(event)
    draft.model_label = storable(turn.model, 200)
    return draft


class Gateway(ProcessGateway):
    """A gateway whose runtime has fixed answers and records what it is asked to end."""

    def __init__(self, *, cancellable: Collection[str] = (), retirable: Collection[str] = ()) -> None:
        super().__init__(settings.GATEWAY)
        self.cancellable, self.retirable = set(cancellable), set(retirable)
        self.cancelled: list[str] = []
        self.own_queues: dict[EngineName, QueueSnapshot] = {"sdk": QueueSnapshot(active=1, waiting=2, max=5)}
        self.runtime = cast("Runtime", _Runtime(self))


@dataclass
class _Runtime:
    gateway: Gateway
    mcp_statuses: McpStatuses = field(default_factory=McpStatuses)

    @property
    def engines(self) -> "_Runtime":
        return self

    def queues(self) -> dict[EngineName, QueueSnapshot]:
        return self.gateway.own_queues

    def upstream(self) -> BreakerSnapshot:
        return BreakerSnapshot(state=BreakerState.OPEN, failures=10, opened=3, retry_after_s=2.5)

    def workers(self) -> list[WorkerSnapshot]:
        return [worker(), worker(id="w2", pid=4712, state="busy", run_id="req_x", model="claude-sonnet-5")]

    def cancel(self, run_id: str) -> bool:
        self.gateway.cancelled.append(run_id)
        return run_id in self.gateway.cancellable

    def retire(self, worker_id: str) -> bool:
        return worker_id in self.gateway.retirable


def serve(service: Service) -> Service:
    """The views of this process show the service."""
    gateway().add(service)
    gateway().add(Broadcaster(service))
    return service


def worker(**changes: Any) -> WorkerSnapshot:
    fields: dict[str, Any] = {
        "id": "w1",
        "pid": 4711,
        "state": "idle",
        "turns": 3,
        "rss_bytes": 150_000_000,
        "started_at": NOW,
        "run_id": None,
        "model": None,
    }
    return WorkerSnapshot(**(fields | changes))
