"""What the dashboard's socket says, as types: one union, told apart by `type`. Pure.

Times are Unix seconds unless a name ends in `_ms`; sizes are characters; money is US dollars.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

from apiproxy.engines.base import WorkerSnapshot
from observability.models import Trace
from observability.stats.figures import Percentiles, Point, Totals
from observability.tracing.columns import span_ms
from observability.tracing.trace_builder import ActiveTrace

MESSAGE_CHARS = 300
"""What the feed shows of an error's message."""


class RunRow(TypedDict):
    """A request that waits or runs. The page reckons its age, and its place in the line, from the times."""

    id: str
    node: str
    process: str
    key: str
    model: str
    dialect: str
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


class Gone(TypedDict):
    """A request that is over; status and reason are empty where only the table's limit pushed it out."""

    id: str
    status: str
    reason: str


class Queue(TypedDict):
    """How full the gateway is."""

    active: int
    waiting: int
    max: int


class Load(TypedDict):
    """How full the gateway was lately: one value for every two seconds, the newest last."""

    active: list[int]
    waiting: list[int]


class Upstream(TypedDict):
    """Whether the upstream is asked: `closed`, `open` (it is not) or `probing`; its failures in a row, and how often it
    was given up since the start."""

    state: str
    failures: int
    opened: int


class WorkerRow(TypedDict):
    """A CLI process; rss in bytes."""

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
    """A serve process; rss in bytes, without its workers'."""

    process: str
    node: str
    pid: int
    started: float
    queue: Queue
    rss: int
    workers: int


class ErrorRow(TypedDict):
    """A request that failed."""

    id: str
    at: float
    key: str
    model: str
    type: str
    phase: str
    message: str
    upstream: int | None


class Tiles(TypedDict):
    """The figures on top: of the last minute, of the last five, of today (UTC).

    error_rate is a share, None without requests.
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
    """The lines under the figures: the last five minutes in steps of 10 s; tokens and cost by hour of the last day."""

    requests: list[int]
    errors: list[int]
    p50: list[float | None]
    p95: list[float | None]
    tokens: list[int]
    cost: list[float]


class Pulse(TypedDict):
    """What is read from the database."""

    tiles: Tiles
    sparks: Sparks
    errors: list[ErrorRow]


class Snapshot(TypedDict):
    """All of it: the first message, and the answer to `catch_up`. hidden: requests beyond the table's limit.

    processes: this one first; the queue and the load are the sums of theirs.
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
    load: Load
    pulse: Pulse | None


class Tick(TypedDict):
    """What has changed since the message with the number before; None where nothing has."""

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
    pulse: Pulse | None


Payload = Snapshot | Tick


def run_row(draft: ActiveTrace, *, node: str, process: str) -> RunRow:
    """The row of a request under way, in that process."""
    turn, first, last = draft.turn, draft.first_token_at, draft.last_event_at
    writing = first is not None and last is not None and last - first > 0.2
    return {
        "id": draft.id,
        "node": node,
        "process": process,
        "key": turn.caller.key_label,
        "model": turn.model,
        "dialect": turn.dialect,
        "phase": draft.phase.value,
        "stream": turn.stream,
        "received": draft.received_at,
        "queued": draft.queued_at,
        "last": last,
        "ttft_ms": span_ms(draft.received_at, first),
        "chars": draft.output_chars,
        "rate": round(draft.output_chars / (last - first)) if writing and first and last else None,
        "events": draft.event_count,
        "stalls": draft.stalls,
        "retries": draft.retries,
    }


def worker_row(worker: WorkerSnapshot, *, node: str, process: str) -> WorkerRow:
    """The row of a worker of that process."""
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
    """The row of a request that failed; its message is redacted already."""
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
    """The figures, from the sums. latency: that of the first token over the recent points."""
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
    """The lines under the figures."""
    return {
        "requests": [point.totals.requests for point in recent],
        "errors": [point.totals.errors + point.totals.interrupted for point in recent],
        "p50": [point.percentiles["ttft"].get("p50") for point in recent],
        "p95": [point.percentiles["ttft"].get("p95") for point in recent],
        "tokens": [point.totals.input_tokens + point.totals.output_tokens for point in hours],
        "cost": [point.totals.cost_usd for point in hours],
    }
