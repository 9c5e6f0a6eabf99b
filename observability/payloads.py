"""Dashboard WebSocket messages, as a union discriminated by `type`. Pure.

Times are Unix seconds unless a name ends in `_ms`; sizes are characters; money is US dollars.
"""

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict

from apiproxy.engines.base import WorkerSnapshot
from observability.agent_payloads import AgentProgress, McpRow, agent_progress
from observability.models import Trace
from observability.stats.figures import Percentiles, Point, Totals
from observability.tracing.columns import span_ms
from observability.tracing.trace_builder import ActiveTrace

MESSAGE_CHARS = 300
"""Maximum length of an error message in the feed."""


class RunRow(TypedDict):
    """A queued or running request. The page computes its age and queue position from the times.

    agent: None if no agent answers it; absent in the states of older versions.
    """

    id: str
    node: str
    process: str
    key: str
    model: str
    dialect: str
    engine: str
    phase: str
    stream: bool
    received: float
    queued: float | None
    last: float | None
    ttft_ms: int | None
    chars: int
    rate: int | None
    events: int
    stalls: int
    retries: int
    agent: NotRequired[AgentProgress | None]


class Gone(TypedDict):
    """A removed row; status and reason are empty if it was only pushed out by the table's limit."""

    id: str
    status: str
    reason: str


class EngineQueue(TypedDict):
    """Queue length and slots of one engine."""

    active: int
    waiting: int
    max: int


class Queue(EngineQueue):
    """Sums over the engines in use. by_engine: absent in the states of older versions."""

    by_engine: NotRequired[dict[str, EngineQueue]]


class Load(TypedDict):
    """Recent queue samples, one every two seconds, newest last."""

    active: list[int]
    waiting: list[int]


class Upstream(TypedDict):
    """Circuit breaker of the upstream.

    state: `closed`, `open` or `probing`. failures: consecutive. opened: number of times since the start.
    """

    state: str
    failures: int
    opened: int


class WorkerRow(TypedDict):
    """A CLI process. rss: bytes."""

    id: str
    node: str
    process: str
    pid: int
    state: str
    turns: int
    rss: int
    started: float
    run: str | None
    model: str | None


class ProcessRow(TypedDict):
    """A serve process. rss: bytes, without workers."""

    process: str
    node: str
    pid: int
    started: float
    queue: Queue
    rss: int
    workers: int


class ErrorRow(TypedDict):
    """A failed request."""

    id: str
    at: float
    key: str
    model: str
    type: str
    phase: str
    message: str
    upstream: int | None


class Tiles(TypedDict):
    """Key figures of the last minute, the last five minutes and today (UTC).

    error_rate: share of requests; None without requests.
    """

    per_minute: int
    error_rate: float | None
    ttft_p50: float | None
    ttft_p95: float | None
    tokens_in: int
    tokens_out: int
    cost: float
    unpriced: int
    requests_today: int


class Sparks(TypedDict):
    """Sparklines: the last five minutes in steps of 10 s; tokens and cost by hour of the last day."""

    requests: list[int]
    errors: list[int]
    p50: list[float | None]
    p95: list[float | None]
    tokens: list[int]
    cost: list[float]


class Overview(TypedDict):
    """Figures read from the database."""

    tiles: Tiles
    sparks: Sparks
    errors: list[ErrorRow]


class Snapshot(TypedDict):
    """Full state: the first message, and the reply to `catch_up`.

    hidden: number of requests beyond the table's limit.
    processes: this one first. queue, load: sums over all processes.
    """

    type: Literal["snapshot"]
    seq: int
    at: float
    runs: list[RunRow]
    hidden: int
    queue: Queue
    upstream: Upstream
    workers: list[WorkerRow]
    processes: list[ProcessRow]
    mcp: list[McpRow]
    load: Load
    pulse: Overview | None


class Tick(TypedDict):
    """Changes since the message with the previous `seq`; None: unchanged."""

    type: Literal["tick"]
    seq: int
    at: float
    runs: list[RunRow]
    gone: list[Gone]
    hidden: int
    queue: Queue
    upstream: Upstream
    workers: list[WorkerRow] | None
    processes: list[ProcessRow] | None
    mcp: list[McpRow] | None
    pulse: Overview | None


Payload = Snapshot | Tick


def run_row(trace: ActiveTrace, *, node: str, process: str) -> RunRow:
    """Row of a running request."""
    turn, first, last = trace.turn, trace.first_token_at, trace.last_event_at
    writing = first is not None and last is not None and last - first > 0.2
    return {
        "id": trace.id,
        "node": node,
        "process": process,
        "key": turn.caller.key_label,
        "model": turn.model,
        "dialect": turn.dialect,
        "engine": trace.engine,
        "phase": trace.phase.value,
        "stream": turn.stream,
        "received": trace.received_at,
        "queued": trace.queued_at,
        "last": last,
        "ttft_ms": span_ms(trace.received_at, first),
        "chars": trace.output_chars,
        "rate": round(trace.output_chars / (last - first)) if writing and first and last else None,
        "events": trace.event_count,
        "stalls": trace.stalls,
        "retries": trace.retries,
        "agent": agent_progress(trace),
    }


def worker_row(worker: WorkerSnapshot, *, node: str, process: str) -> WorkerRow:
    """Row of a worker."""
    return {
        "id": worker.id,
        "node": node,
        "process": process,
        "pid": worker.pid,
        "state": worker.state,
        "turns": worker.turns,
        "rss": worker.rss_bytes,
        "started": worker.started_at,
        "run": worker.run_id,
        "model": worker.model,
    }


def error_row(trace: Trace) -> ErrorRow:
    """Row of a failed request; its message is already redacted."""
    return {
        "id": trace.pk,
        "at": (trace.finished_at or trace.received_at).timestamp(),
        "key": trace.key_label,
        "model": trace.model,
        "type": trace.error_type or trace.end_reason,
        "phase": trace.error_phase or trace.phase,
        "message": trace.error_message[:MESSAGE_CHARS],
        "upstream": trace.upstream_status,
    }


def tiles(*, last_minute: Sequence[Point], recent: Sequence[Point], latency: Percentiles, today: Totals) -> Tiles:
    """Key figures. latency: time to first token over the recent points."""
    requests = sum(point.totals.requests for point in recent)
    failed = sum(point.totals.errors + point.totals.interrupted for point in recent)
    return {
        "per_minute": sum(point.totals.requests for point in last_minute),
        "error_rate": failed / requests if requests else None,
        "ttft_p50": latency.get("p50"),
        "ttft_p95": latency.get("p95"),
        "tokens_in": today.input_tokens + today.cache_read_tokens + today.cache_creation_tokens,
        "tokens_out": today.output_tokens,
        "cost": today.cost_usd,
        "unpriced": today.unpriced,
        "requests_today": today.requests,
    }


def sparks(recent: Sequence[Point], hours: Sequence[Point]) -> Sparks:
    """Sparklines of the key figures."""
    return {
        "requests": [point.totals.requests for point in recent],
        "errors": [point.totals.errors + point.totals.interrupted for point in recent],
        "p50": [point.percentiles["ttft"].get("p50") for point in recent],
        "p95": [point.percentiles["ttft"].get("p95") for point in recent],
        "tokens": [point.totals.input_tokens + point.totals.output_tokens for point in hours],
        "cost": [point.totals.cost_usd for point in hours],
    }
