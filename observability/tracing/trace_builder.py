"""Trace of a running turn, built from its events. No I/O; called for every stream event."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import (
    UPSTREAM_REQUEST_ID,
    Admitted,
    Cancelled,
    CancelReason,
    Event,
    Failed,
    Finished,
    Queued,
    Rejected,
    Retrying,
    Stepped,
    Streamed,
    StreamEvent,
    Usage,
    WorkerReady,
)
from apiproxy.core.turns import Turn
from observability.tracing.body_stats import BodyStats, measure_body
from observability.tracing.failure import Failure
from observability.tracing.message_fold import MessageDigest
from observability.tracing.steps import StepLog
from observability.tracing.stream_usage import with_reported
from observability.vocabulary import EndReason, Phase, Status, end_reason_of, status_of

MAX_EVENT_TYPES = 32
"""Maximum event types counted separately; further ones are counted as `other`."""

_OTHER = "other"
_TOOL_BLOCKS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class ActiveTrace:
    """State of one turn. Times are Unix seconds and never decrease, even if the clock is set back.

    disowned: another process may already have counted it as interrupted. steps: of an agent's run, else None.

    Modified on the event loop's thread only, and not after its end; other threads may read it.
    """

    __slots__ = (
        "_body_stats",
        "admitted_at",
        "answer",
        "body",
        "disowned",
        "end_reason",
        "event_types",
        "failure",
        "finished_at",
        "first_event_at",
        "first_token_at",
        "last_event",
        "last_event_at",
        "latest",
        "model_label",
        "output_chars",
        "phase",
        "queue_position",
        "queued_at",
        "received_at",
        "response_id",
        "response_model",
        "retries",
        "stalls",
        "status",
        "steps",
        "stop_reason",
        "tool_calls",
        "turn",
        "upstream_request_id",
        "usage",
        "worker_pid",
        "worker_ready_at",
    )

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.body: Mapping[str, Any] | None = turn.body
        self._body_stats: BodyStats | None = None
        self.answer = MessageDigest() if turn.caller.store_bodies else None
        self.steps = StepLog(keep_content=turn.caller.store_bodies) if turn.agent is not None else None
        self.phase = Phase.RECEIVED
        self.status = Status.ACTIVE
        self.end_reason: EndReason | None = None
        self.failure: Failure | None = None
        self.received_at = self.latest = turn.received_at
        self.queued_at: float | None = None
        self.admitted_at: float | None = None
        self.finished_at: float | None = None
        self.model_label = ""
        self.disowned = False
        self.queue_position = 0
        self.retries = 0
        self.stalls = 0
        self._begin_attempt()

    def _begin_attempt(self) -> None:
        """Reset the state of a failed attempt; the client has received nothing of it."""
        self.worker_pid: int | None = None
        self.worker_ready_at: float | None = None
        self.first_event_at: float | None = None
        self.first_token_at: float | None = None
        self.last_event_at: float | None = None
        self.last_event: StreamEvent | None = None
        self.event_types: dict[str, int] = {}
        self.output_chars = 0
        self.tool_calls = 0
        self.stop_reason = ""
        self.response_id = ""
        self.response_model = ""
        self.upstream_request_id = ""
        self.usage = Usage()
        if self.answer is not None:
            self.answer = MessageDigest()

    @property
    def id(self) -> str:
        return self.turn.id

    @property
    def agent(self) -> str:
        """Agent and version, as `slug@version`; empty if no agent answers."""
        return "" if self.turn.agent is None else self.turn.agent.name

    @property
    def engine(self) -> str:
        """Engine of the run; empty if the request was rejected before it."""
        return "" if self.queued_at is None else self.turn.engine

    @property
    def ended(self) -> bool:
        return self.finished_at is not None

    @property
    def body_stats(self) -> BodyStats:
        """Size statistics of the request body, computed on first access."""
        stats = self._body_stats
        if stats is None:
            stats = self._body_stats = measure_body(self.body or {})
        return stats

    @property
    def event_count(self) -> int:
        return sum(self.event_types.copy().values())

    @property
    def last_event_type(self) -> str:
        """Type of the latest stream event; empty before the first."""
        kind = self.last_event.get("type") if self.last_event else ""
        return kind if isinstance(kind, str) else _OTHER

    def release_body(self) -> None:
        """Free the body, which may be tens of megabytes; `body_stats` stays available."""
        _ = self.body_stats
        self.turn, self.body = replace(self.turn, body={}), None

    def apply(self, event: Event) -> bool:
        """Apply an event of the run; True if the phase changed. Ignored after the end."""
        if self.finished_at is not None:
            return False
        if type(event) is Streamed:
            return self.add_stream(event.at, event.events, event.headers)
        if type(event) is Stepped:
            return self._add_step(event)
        at = self._advance(event.at)
        match event:
            case Queued(position=position):
                self.phase, self.queued_at, self.queue_position = Phase.QUEUED, at, position
            case Admitted():
                self.phase, self.admitted_at = Phase.ADMITTED, at
            case WorkerReady(pid=pid):
                self.phase, self.worker_ready_at, self.worker_pid = Phase.WORKER_READY, at, pid
            case Retrying():
                self._retry(at)
            case Finished() | Failed() | Cancelled() | Rejected():
                self._end(at, event)
            case Streamed() | Stepped():  # handled above
                return False
            case _:
                assert_never(event)
        return True

    def _add_step(self, event: Stepped) -> bool:
        self._advance(event.at)
        if self.steps is not None:
            self.steps.add(event.step)
            self.usage = self.steps.usage
        return False

    def _retry(self, at: float) -> None:
        if self.steps is not None:
            self.steps.begin_attempt(at)
        self.retries += 1
        self.phase = Phase.ADMITTED
        self._begin_attempt()

    def add_stream(self, at: float, events: Sequence[StreamEvent], headers: Mapping[str, str] | None = None) -> bool:
        """Apply a batch of the upstream's stream events; True if the phase changed. headers: see `Streamed`."""
        at = self._advance(at)
        if headers:
            self.upstream_request_id = headers.get(UPSTREAM_REQUEST_ID, "")
        counts, chars, tokens = self.event_types, 0, False
        for event in events:
            kind = event.get("type")
            try:
                counts[kind] += 1  # type: ignore[index]  # the upstream may send anything
            except (KeyError, TypeError):
                self._count_new(kind)
            if kind == "content_block_delta":
                tokens = True
                delta = event.get("delta")
                if type(delta) is dict:
                    text = delta.get("text") or delta.get("partial_json") or delta.get("thinking")
                    if type(text) is str:
                        chars += len(text)
            else:
                self._note(kind, event)
        self.output_chars += chars
        self.last_event_at = at
        if events:
            self.last_event = events[-1]
        if self.answer is not None:
            self.answer.add(events)
        return self._stream_phase(at, tokens=tokens)

    def _stream_phase(self, at: float, *, tokens: bool) -> bool:
        changed = False
        if self.first_event_at is None:
            self.first_event_at, self.phase, changed = at, Phase.FIRST_EVENT, True
        if tokens and self.first_token_at is None:
            self.first_token_at, self.phase, changed = at, Phase.STREAMING, True
        return changed

    def _advance(self, at: float) -> float:
        if at > self.latest:
            self.latest = at
        return self.latest

    def _count_new(self, kind: object) -> None:
        counts = self.event_types
        if not isinstance(kind, str) or (kind not in counts and len(counts) >= MAX_EVENT_TYPES):
            kind = _OTHER
        counts[kind] = counts.get(kind, 0) + 1

    def _note(self, kind: object, event: StreamEvent) -> None:
        if kind == "content_block_start":
            block = event.get("content_block")
            if isinstance(block, dict) and block.get("type") in _TOOL_BLOCKS:
                self.tool_calls += 1
        elif kind == "message_start":
            message = event.get("message")
            if isinstance(message, dict):
                self.response_id, self.response_model = str(message.get("id", "")), str(message.get("model", ""))
                self.usage = with_reported(self.usage, message.get("usage"))
        elif kind == "message_delta":
            delta = event.get("delta")
            if isinstance(delta, dict) and isinstance(delta.get("stop_reason"), str):
                self.stop_reason = delta["stop_reason"]
            self.usage = with_reported(self.usage, event.get("usage"))

    def _end(self, at: float, event: Finished | Failed | Cancelled | Rejected) -> None:
        match event:
            case Finished(stop_reason=stop_reason, usage=usage):
                self.end_reason, self.stop_reason = EndReason.COMPLETED, stop_reason
                self._settle_usage(usage)
            case Failed(error=error, usage=usage, diagnostics=diagnostics):
                # Not refused: a run interrupted by the drain had already started.
                drained = error.kind is FailureKind.DRAINING
                self.end_reason = EndReason.INTERRUPTED if drained else end_reason_of(error.kind)
                self.failure = Failure(error=error, phase=self.phase, diagnostics=diagnostics)
                if error.upstream is not None:
                    self.upstream_request_id = error.upstream.headers.get(UPSTREAM_REQUEST_ID, self.upstream_request_id)
                self._settle_usage(usage)
            case Cancelled(reason=reason, usage=usage):
                left = reason is CancelReason.CLIENT_DISCONNECT
                self.end_reason = EndReason.CLIENT_DISCONNECT if left else EndReason.CANCELLED
                self._settle_usage(usage)
            case Rejected(error=error):
                self.end_reason = end_reason_of(error.kind)
                self.failure = Failure(error=error, phase=self.phase, diagnostics={})
            case _:
                assert_never(event)
        self.status, self.phase, self.finished_at = status_of(self.end_reason), Phase.FINISHED, at

    def _settle_usage(self, usage: Usage) -> None:
        """The final event's usage takes precedence over the stream's, unless it is empty."""
        if usage != Usage():
            self.usage = usage
