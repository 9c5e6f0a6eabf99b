"""Prometheus metrics: right, only rising, and of a bounded number."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Usage
from apiproxy.runs.admission import QueueSnapshot
from observability.cluster.states import MemberState, queue_of
from observability.metrics import GatewayCollector, Metrics
from observability.payloads import worker_row
from observability.tracing.model_labels import MAX_MODELS, ModelNames
from observability.tracing.recorder import Recorder
from tests.observability.builders import NOW, Gateway, answer, course, failed, finished, make_turn, opening, refused


def read(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    metrics.flush({})
    text, _ = metrics.render("")
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name.removeprefix("claude_proxy_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def make() -> tuple[Metrics, Recorder]:
    metrics = Metrics()
    return metrics, Recorder([metrics], names=ModelNames(), on_gap=metrics.observe_gap)


def test_count_run_with_times_tokens_and_cost() -> None:
    metrics, recorder = make()
    turn = make_turn()
    for event in [*opening(), *answer(NOW, "a", "b", "c"), finished()]:
        recorder.on_event(turn, event)
    found, model = read(metrics), ("model", "claude-sonnet-5")

    labels = (("dialect", "anthropic"), ("end_reason", "completed"), model, ("status", "completed"))
    assert found["requests_total", labels] == 1
    assert found["tokens_total", (("kind", "input"), model)] == 100
    assert found["tokens_total", (("kind", "output"), model)] == 20
    assert found["tokens_total", (("kind", "cache_read"), model)] == 30
    assert found["tokens_total", (("kind", "cache_creation"), model)] == 40
    assert found["cost_usd_total", (model,)] == 0.0123
    assert abs(found["queue_wait_seconds_sum", ()] - 0.2) < 1e-5
    assert abs(found["worker_wait_seconds_sum", ()] - 0.01) < 1e-5
    assert abs(found["first_token_seconds_sum", (model,)] - 0.4) < 1e-5
    assert abs(found["duration_seconds_sum", (model,)] - 1.0) < 1e-5
    assert found["inter_token_gap_seconds_count", ()] == 2


def test_count_rejected_request_without_times() -> None:
    metrics, recorder = make()
    recorder.on_event(make_turn(), refused())
    found = read(metrics)

    labels = (("dialect", "anthropic"), ("end_reason", "refused"), ("model", "other"), ("status", "refused"))
    assert found["requests_total", labels] == 1
    assert not [key for key in found if key[0] == "duration_seconds_count" and found[key]]


def test_keep_labels_from_clients() -> None:
    metrics, recorder = make()
    for number in range(500):
        turn = make_turn(model=f"invented-{number}")
        for event in [refused()] if number % 2 else course():
            recorder.on_event(turn, event)
    models = {dict(labels)["model"] for (_, labels) in read(metrics) if "model" in dict(labels)}

    assert len(models) == MAX_MODELS + 1
    assert "other" in models


def test_counters_never_fall_whatever_the_upstream_says() -> None:
    metrics, recorder = make()

    def counters() -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
        return ((key, value) for key, value in read(metrics).items() if key[0].endswith(("_total", "_count", "_sum")))

    before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for ending in (
        finished(),
        finished(usage=Usage(-5, -1, -1, -1, -3.0)),
        finished(NOW - 100_000),
        failed(kind=FailureKind.MAX_OUTPUT),
    ):
        turn = make_turn()
        for event in [*opening(), *answer(), ending]:
            recorder.on_event(turn, event)
        after = dict(counters())
        assert all(after[key] >= value for key, value in before.items() if "process" not in key[0])
        before = after


def state_of(gateway: Gateway, process: str) -> MemberState:
    return {
        "process": process, "node": "here", "pid": 1, "started": NOW, "at": NOW, "rss": 1, "active": 0, "runs": [],
        "queue": queue_of(gateway.runtime.engines.queues()),
        "upstream": {"state": "open", "failures": 10, "opened": 3},
        "workers": [worker_row(worker, node="here", process=process) for worker in gateway.runtime.workers()],
    }  # fmt: skip


def test_queues_workers_and_losses_are_read_when_the_metrics_are() -> None:
    metrics, _ = make()
    collector = GatewayCollector(version="1.2.3")
    metrics.registry.register(collector)
    collector.update([state_of(Gateway(), "a"), state_of(Gateway(), "b")])
    metrics.flush({"trace": 0, "log_line": 3})
    found = read(metrics)

    assert found["upstream_state", (("state", "open"),)] == 2
    assert found["upstream_state", (("state", "closed"),)] == 0
    assert (found["queue_length", ()], found["active_runs", ()], found["max_runs", ()]) == (4, 2, 10)
    assert found["workers", (("state", "idle"),)] == found["workers", (("state", "busy"),)] == 2
    assert found["processes", ()] == 2
    assert found["dropped_total", (("what", "log_line"),)] == 3
    assert found["info", (("version", "1.2.3"),)] == 1
    metrics.flush({"trace": 7, "log_line": 3})
    found = read(metrics)
    assert (found["dropped_total", (("what", "trace"),)], found["dropped_total", (("what", "log_line"),)]) == (7, 3)


def test_count_runs_and_slots_by_engine() -> None:
    metrics, recorder = make()
    for engine in ("sdk", "http", "http"):
        turn = make_turn(engine=engine)
        for event in course():
            recorder.on_event(turn, event)
    recorder.on_event(make_turn(engine="http"), refused())
    collector = GatewayCollector(version="1.2.3")
    metrics.registry.register(collector)
    both = Gateway()
    both.own_queues["http"] = QueueSnapshot(active=7, waiting=3, max=1000)
    collector.update([state_of(both, "a"), state_of(Gateway(), "b")])
    found = read(metrics)

    assert found["engine_requests_total", (("engine", "http"), ("status", "completed"))] == 2
    assert found["engine_requests_total", (("engine", "sdk"), ("status", "completed"))] == 1
    assert found["engine_max_runs", (("engine", "http"),)] == 1000
    assert found["engine_max_runs", (("engine", "sdk"),)] == 10
    assert found["engine_active_runs", (("engine", "http"),)] == 7
    assert found["engine_queue_length", (("engine", "http"),)] == 3
    assert found["max_runs", ()] == 1010


def test_stalls_and_retries_are_counted() -> None:
    metrics, recorder = make()
    turn = make_turn()
    for event in opening():
        recorder.on_event(turn, event)
    recorder.count_stalls(NOW + 40)
    recorder.count_stalls(NOW + 55)

    assert read(metrics)["stalls_total", ()] == 2
