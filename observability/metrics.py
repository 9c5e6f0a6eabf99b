"""Prometheus metrics. Counters only rise; every label comes from a closed set or a bounded one."""

from bisect import bisect_left
from collections import Counter as TallyCounter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from observability.draft import Draft
from observability.ports import GatewayPort
from observability.vocabulary import Status

_PREFIX = "claude_proxy"
_WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKEN_S = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_DURATION_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_GAP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one process; a listener of the recorder."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
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
        self._gaps = Gaps()
        self.observe_gap = self._gaps.observe
        registry.register(self._gaps)
        self._tokens = Counter(f"{_PREFIX}_tokens", "Tokens, by kind.", ("model", "kind"), registry=registry)
        self._cost = Counter(f"{_PREFIX}_cost_usd", "Cost in US dollars: an estimate.", ("model",), registry=registry)
        self._stalls = Counter(
            f"{_PREFIX}_stalls", "Checks that found a run without an event for 30 s.", registry=registry
        )
        self._retries = Counter(f"{_PREFIX}_retries", "Attempts that were made again.", registry=registry)

    def started(self, draft: Draft) -> None:
        """Running requests are counted where the metrics are read."""

    def changed(self, draft: Draft) -> None:
        """Phases are counted when the request ends."""

    def stalled(self, draft: Draft) -> None:
        """Counts the check."""
        self._stalls.inc()

    def ended(self, draft: Draft) -> None:
        """Counts the request."""
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

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that the Accept header asks for, and the content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type


class Gaps(Collector):
    """The histogram of the gaps between two arrivals of output within a run.

    One of the library's takes 3 µs an observation, three times as long as all else that is done for an arrival. This
    one belongs to the event loop's thread.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(_GAP_S) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts a gap."""
        self._counts[bisect_left(_GAP_S, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[Metric]:
        """The histogram; its buckets are cumulative."""
        edges = [*map(floatToGoString, _GAP_S), "+Inf"]
        buckets = list(zip(edges, accumulate(self._counts), strict=True))
        text = "Between two arrivals of output within a run."
        yield HistogramMetricFamily(f"{_PREFIX}_inter_token_gap_seconds", text, buckets=buckets, sum_value=self._sum)


class GatewayCollector(Collector):
    """What is read from the gateway when the metrics are: the queue, the workers, what was dropped.

    `refresh` belongs to the event loop's thread; `collect` tells what it found, from any thread.
    dropped gives totals by reason.
    """

    def __init__(self, port: GatewayPort, *, version: str, dropped: Callable[[], Mapping[str, int]]) -> None:
        self._port = port
        self._version = version
        self._dropped = dropped
        self._families: Sequence[Metric] = ()

    def refresh(self) -> None:
        """Reads the figures."""
        queue = self._port.queue()
        dropped = CounterMetricFamily(f"{_PREFIX}_dropped", "Traces and log lines lost, by reason.", labels=("what",))
        for what, count in self._dropped().items():
            dropped.add_metric((what,), count)
        info = GaugeMetricFamily(f"{_PREFIX}_info", "The gateway's version; always 1.", labels=("version",))
        info.add_metric((self._version,), 1)
        self._families = (
            GaugeMetricFamily(f"{_PREFIX}_queue_length", "Requests that wait for a slot.", queue.waiting),
            GaugeMetricFamily(f"{_PREFIX}_active_runs", "Requests that have a slot.", queue.active),
            GaugeMetricFamily(f"{_PREFIX}_max_runs", "Slots.", queue.max),
            self._workers(),
            dropped,
            info,
        )

    def collect(self) -> Iterator[Metric]:
        """The figures last read."""
        yield from self._families

    def _workers(self) -> GaugeMetricFamily:
        by_state = TallyCounter(worker.state for worker in self._port.workers())
        family = GaugeMetricFamily(f"{_PREFIX}_workers", "CLI processes, by state.", labels=("state",))
        for state, count in by_state.items():
            family.add_metric((state,), count)
        return family


def _histogram(
    registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...], *labels: str
) -> Histogram:
    return Histogram(f"{_PREFIX}_{name}", text, labels, buckets=buckets, registry=registry)


def _observe(histogram: Any, start: float | None, end: float | None) -> None:
    if start is not None and end is not None:
        histogram.observe(max(0.0, end - start))
