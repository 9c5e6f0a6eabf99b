"""Prometheus metrics. Counters only rise; every label comes from a closed set or a bounded one."""

import os
from bisect import bisect_left
from collections import Counter as TallyCounter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

from observability.cluster.states import MemberState
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import Status

_PREFIX = "claude_proxy"
_UPSTREAM_STATES = ("closed", "open", "probing")
_WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKEN_S = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_DURATION_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_GAP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Seat:
    """A process's place among those of its supervisor, which count in one folder.

    number: no two living processes have the same. One that follows on a dead one counts on from where that had come to,
    so what they show together never falls.
    """

    number: int
    folder: Path


class Metrics(Listener):
    """What this process counts; a listener of the recorder. With a seat, `render` gives what all of them count."""

    def __init__(self, seat: Seat | None = None) -> None:
        registry = CollectorRegistry()
        if seat is None:
            self.registry = registry
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=registry)
        else:
            self.registry = CollectorRegistry()
            seat.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(seat.folder)
            make: Any = values.MultiProcessValue
            values.ValueClass = make(process_identifier=lambda: seat.number)
            MultiProcessCollector(self.registry, path=str(seat.folder))  # type: ignore[no-untyped-call]
        self._requests = Counter(
            f"{_PREFIX}_requests",
            "Requests that ended, refused ones included.",
            ("dialect", "model", "status", "end_reason"),
            registry=registry,
        )
        self._queue_wait = _histogram(registry, "queue_wait_seconds", "Wait for a slot.", _WAIT_S)
        self._worker_wait = _histogram(registry, "worker_wait_seconds", "From the slot to a worker.", _WAIT_S)
        self._first_token = _histogram(
            registry, "first_token_seconds", "From the request to the first token.", _TOKEN_S, "model"
        )
        self._duration = _histogram(registry, "duration_seconds", "From the request to its end.", _DURATION_S, "model")
        self._gaps = Gaps(registry)
        self.observe_gap = self._gaps.observe
        self._tokens = Counter(f"{_PREFIX}_tokens", "Tokens, by kind.", ("model", "kind"), registry=registry)
        self._cost = Counter(f"{_PREFIX}_cost_usd", "Cost in US dollars: an estimate.", ("model",), registry=registry)
        self._unpriced = Counter(
            f"{_PREFIX}_unpriced_requests",
            "Requests whose cost is wholly or partly missing from the cost, by extent.",
            ("model", "extent"),
            registry=registry,
        )
        self._stalls = Counter(
            f"{_PREFIX}_stalls", "Checks that found a run without an event for 30 s.", registry=registry
        )
        self._retries = Counter(f"{_PREFIX}_retries", "Attempts that were made again.", registry=registry)
        self._dropped = Counter(
            f"{_PREFIX}_dropped", "Traces, log lines and settlements lost, by kind.", ("what",), registry=registry
        )
        self._dropped_before: dict[str, int] = {}

    def stalled(self, draft: ActiveTrace) -> None:
        self._stalls.inc()

    def ended(self, draft: ActiveTrace) -> None:
        model, usage = draft.counted_as, draft.usage
        reason = draft.end_reason.value if draft.end_reason else ""
        self._requests.labels(draft.turn.dialect, model, draft.status.value, reason).inc()
        self._retries.inc(draft.retries)
        if draft.status is Status.REFUSED:
            return
        _observe(self._queue_wait, draft.queued_at, draft.admitted_at)
        _observe(self._worker_wait, draft.admitted_at, draft.worker_ready_at)
        _observe(self._first_token.labels(model), draft.received_at, draft.first_token_at)
        _observe(self._duration.labels(model), draft.received_at, draft.finished_at)
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

    def settle(self, dropped: Mapping[str, int]) -> None:
        """Adds what is not counted where it happens. dropped: totals by reason. On the event loop's thread."""
        self._gaps.settle()
        for what, total in dropped.items():
            self._dropped.labels(what).inc(max(0, total - self._dropped_before.get(what, 0)))
            self._dropped_before[what] = total

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that the Accept header asks for, and the content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type


class Gaps:
    """The histogram of the gaps between two arrivals of output within a run.

    To observe one costs the library 3 µs, three times as long as all else that is done for an arrival. So they are
    collected here, on the event loop's thread, and given to the library together.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        text = "Between two arrivals of output within a run."
        self._histogram: Any = Histogram(f"{_PREFIX}_inter_token_gap_seconds", text, buckets=_GAP_S, registry=registry)
        self._counts = [0] * (len(_GAP_S) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts a gap."""
        self._counts[bisect_left(_GAP_S, seconds)] += 1
        self._sum += seconds

    def settle(self) -> None:
        """Gives the library what has come together."""
        # Its own: it has no way to observe more than one at a time.
        for bucket, count in zip(self._histogram._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self._sum)
        self._counts = [0] * len(self._counts)
        self._sum = 0.0


class GatewayCollector(Collector):
    """What is told of a node's processes when the metrics are read: their queues and workers.

    `tell` belongs to the event loop's thread; `collect` gives what it was told, from any thread.
    """

    def __init__(self, *, version: str) -> None:
        self._version = version
        self._families: Sequence[Metric] = ()

    def tell(self, states: Sequence[MemberState]) -> None:
        """Takes in how the processes are."""
        info = GaugeMetricFamily(f"{_PREFIX}_info", "The gateway's version; always 1.", labels=("version",))
        info.add_metric((self._version,), 1)
        queues = [state["queue"] for state in states]
        self._families = (
            _gauge("queue_length", "Requests that wait for a slot.", sum(queue["waiting"] for queue in queues)),
            _gauge("active_runs", "Requests that have a slot.", sum(queue["active"] for queue in queues)),
            _gauge("max_runs", "Slots.", sum(queue["max"] for queue in queues)),
            _upstreams(states),
            _gauge("processes", "Serve processes.", len(states)),
            _workers(states),
            info,
        )

    def collect(self) -> Iterator[Metric]:
        """The figures last told."""
        yield from self._families


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value)


def _upstreams(states: Sequence[MemberState]) -> GaugeMetricFamily:
    by_state = TallyCounter(state["upstream"]["state"] for state in states)
    text = "Serve processes, by whether they ask the upstream."
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
