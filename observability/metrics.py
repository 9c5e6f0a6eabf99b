"""Prometheus metrics. All label values are from closed or bounded sets."""

import os
from bisect import bisect_left
from collections import Counter as TallyCounter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from apiproxy.core.events import Step
from observability.agent_metrics import AgentMetrics
from observability.cluster.states import MemberState, total_queue
from observability.payloads import Queue
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

_PREFIX = "claude_proxy"
_UPSTREAM_STATES = ("closed", "open", "probing")
_ENGINE_GAUGES: tuple[tuple[str, str, Literal["waiting", "active", "max"]], ...] = (
    ("engine_queue_length", "Requests waiting for a slot, by engine.", "waiting"),
    ("engine_active_runs", "Requests with a slot, by engine.", "active"),
    ("engine_max_runs", "Slots, by engine.", "max"),
)
_WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKEN_S = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_DURATION_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_GAP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Seat:
    """Position of a process under its supervisor, with the shared multiprocess metrics folder.

    number: unique among live processes. A replacement process reuses the number and continues its counters, so their
    sums never decrease.
    """

    number: int
    folder: Path


def _for_one_process(registry: CollectorRegistry) -> CollectorRegistry:
    """Registry to render, with metrics of the process itself."""
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def _for_all_processes(seat: Seat) -> CollectorRegistry:
    """Registry to render, which sums up the files of all processes. Values made after this go into such a file."""
    seat.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(seat.folder)
    make: Any = values.MultiProcessValue
    values.ValueClass = make(process_identifier=lambda: seat.number)
    rendered = CollectorRegistry()
    MultiProcessCollector(rendered, path=str(seat.folder))  # type: ignore[no-untyped-call]
    return rendered


class Metrics(Listener):
    """Metrics of this process, updated as a listener. With a seat, `render` covers all processes."""

    def __init__(self, seat: Seat | None = None) -> None:
        registry = CollectorRegistry()
        self.registry = _for_one_process(registry) if seat is None else _for_all_processes(seat)
        self._requests = Counter(
            f"{_PREFIX}_requests",
            "Finished requests, including rejected ones.",
            ("dialect", "model", "status", "end_reason"),
            registry=registry,
        )
        self._engine_requests = Counter(
            f"{_PREFIX}_engine_requests", "Finished runs, by engine.", ("engine", "status"), registry=registry
        )
        self._queue_wait = _histogram(registry, "queue_wait_seconds", "Time waiting for a slot.", _WAIT_S)
        self._worker_wait = _histogram(
            registry, "worker_wait_seconds", "Time from getting a slot to getting a worker.", _WAIT_S
        )
        self._first_token = _histogram(
            registry, "first_token_seconds", "Time from the request to the first token.", _TOKEN_S, "model"
        )
        self._duration = _histogram(
            registry, "duration_seconds", "Time from the request to its end.", _DURATION_S, "model"
        )
        self._gaps = Gaps(registry)
        self.observe_gap = self._gaps.observe
        self._tokens = Counter(f"{_PREFIX}_tokens", "Tokens, by kind.", ("model", "kind"), registry=registry)
        self._cost = Counter(f"{_PREFIX}_cost_usd", "Estimated cost in US dollars.", ("model",), registry=registry)
        self._unpriced = Counter(
            f"{_PREFIX}_unpriced_requests",
            "Requests without a price, by extent: all or part of their cost is missing.",
            ("model", "extent"),
            registry=registry,
        )
        self._stalls = Counter(
            f"{_PREFIX}_stalls", "Checks that found a run without an event for 30 s.", registry=registry
        )
        self._retries = Counter(f"{_PREFIX}_retries", "Retried attempts.", registry=registry)
        self._dropped = Counter(
            f"{_PREFIX}_dropped", "Traces, log lines and settlements lost, by kind.", ("what",), registry=registry
        )
        self._dropped_before: dict[str, int] = {}
        self._agents = AgentMetrics(registry)

    def stepped(self, trace: ActiveTrace, step: Step) -> None:
        self._agents.stepped(trace, step)

    def stalled(self, trace: ActiveTrace) -> None:
        self._stalls.inc()

    def ended(self, trace: ActiveTrace) -> None:
        model, usage = trace.model_label, trace.usage
        reason = trace.end_reason.value if trace.end_reason else ""
        self._requests.labels(trace.turn.dialect, model, trace.status.value, reason).inc()
        self._retries.inc(trace.retries)
        self._agents.ended(trace)
        if trace.status is Status.REFUSED:
            return
        if trace.engine:
            self._engine_requests.labels(trace.engine, trace.status.value).inc()
        _observe(self._queue_wait, trace.queued_at, trace.admitted_at)
        _observe(self._worker_wait, trace.admitted_at, trace.worker_ready_at)
        _observe(self._first_token.labels(model), trace.received_at, trace.first_token_at)
        _observe(self._duration.labels(model), trace.received_at, trace.finished_at)
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_input_tokens),
            ("cache_creation", usage.cache_creation_input_tokens),
        ):
            self._tokens.labels(model, kind).inc(max(0, count))
        self._cost.labels(model).inc(max(0.0, usage.cost_usd or 0.0))
        if usage.unpriced:
            self._unpriced.labels(model, "part" if usage.partly_unpriced else "whole").inc()

    def flush(self, dropped: Mapping[str, int]) -> None:
        """Add values collected elsewhere. dropped: running totals by reason. Call on the event loop's thread."""
        self._gaps.flush()
        for what, total in dropped.items():
            self._dropped.labels(what).inc(max(0, total - self._dropped_before.get(what, 0)))
            self._dropped_before[what] = total

    def render(self, accept: str) -> tuple[bytes, str]:
        """Metrics in the format of the Accept header, and the content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type


class Gaps:
    """Histogram of the gaps between output batches of a run.

    `Histogram.observe` takes 3 µs, three times the rest of the work per batch. Gaps are therefore counted here, on the
    event loop's thread, and added to the histogram in bulk.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        text = "Time between two batches of output of a run."
        self._histogram: Any = Histogram(f"{_PREFIX}_inter_token_gap_seconds", text, buckets=_GAP_S, registry=registry)
        self._counts = [0] * (len(_GAP_S) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(_GAP_S, seconds)] += 1
        self._sum += seconds

    def flush(self) -> None:
        """Add the counts to the histogram."""
        # Private attributes: the library has no bulk update.
        for bucket, count in zip(self._histogram._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self._sum)
        self._counts = [0] * len(self._counts)
        self._sum = 0.0


class GatewayCollector(Collector):
    """Gauges of a node's processes: queues, workers and upstream states.

    Call `update` on the event loop's thread; `collect` may run in any thread.
    """

    def __init__(self, *, version: str) -> None:
        self._version = version
        self._families: Sequence[Metric] = ()

    def update(self, states: Sequence[MemberState]) -> None:
        """Set the gauges from member states."""
        info = GaugeMetricFamily(f"{_PREFIX}_info", "The gateway's version; always 1.", labels=("version",))
        info.add_metric((self._version,), 1)
        queues = [state["queue"] for state in states]
        self._families = (
            _gauge("queue_length", "Requests waiting for a slot.", sum(queue["waiting"] for queue in queues)),
            _gauge("active_runs", "Requests with a slot.", sum(queue["active"] for queue in queues)),
            _gauge("max_runs", "Slots.", sum(queue["max"] for queue in queues)),
            *_engines(total_queue(queues)),
            _upstreams(states),
            _gauge("processes", "Serve processes.", len(states)),
            _workers(states),
            info,
        )

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value)


def _engines(queue: Queue) -> Iterator[GaugeMetricFamily]:
    for name, text, count in _ENGINE_GAUGES:
        family = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=("engine",))
        for engine, one in queue.get("by_engine", {}).items():
            family.add_metric((engine,), one[count])
        yield family


def _upstreams(states: Sequence[MemberState]) -> GaugeMetricFamily:
    by_state = TallyCounter(state["upstream"]["state"] for state in states)
    text = "Serve processes, by state of their circuit breaker."
    family = GaugeMetricFamily(f"{_PREFIX}_upstream_state", text, labels=("state",))
    for name in _UPSTREAM_STATES:
        family.add_metric((name,), by_state[name])
    return family


def _workers(states: Sequence[MemberState]) -> GaugeMetricFamily:
    by_state = TallyCounter(worker["state"] for state in states for worker in state["workers"])
    family = GaugeMetricFamily(f"{_PREFIX}_workers", "CLI processes, by state.", labels=("state",))
    for name, count in by_state.items():
        family.add_metric((name,), count)
    return family


def _histogram(
    registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...], *labels: str
) -> Histogram:
    return Histogram(f"{_PREFIX}_{name}", text, labels, buckets=buckets, registry=registry)


def _observe(histogram: Any, start: float | None, end: float | None) -> None:
    if start is not None and end is not None:
        histogram.observe(max(0.0, end - start))
