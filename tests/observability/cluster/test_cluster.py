"""Cluster membership: heartbeats, eviction, peer states and commands."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from observability.cluster import cluster as cluster_module
from observability.cluster import registry as registry_module
from observability.cluster.registry import DEAD_AFTER_S, SILENT_AFTER_S, MemberRegistry
from observability.cluster.states import Identity
from observability.metrics import Metrics, Seat
from observability.models import Errand, Member, Rollup, Trace
from observability.service import Config, Service
from observability.stats.rollup import HOUR_S
from observability.tracing.model_labels import ModelNames
from observability.tracing.recorder import Recorder
from observability.tracing.redact import Redactor
from observability.tracing.store import Record, Store
from tests.observability.builders import Gateway, course, draft_of, finished, make_turn, opening
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


def make_store(process: str) -> Store:
    return Store(node="there", process=process, redactor=Redactor(), names=ModelNames())


def make_registry(
    process: str, *, node: str = "here", is_gone: Callable[[str], bool] = lambda _name: False
) -> MemberRegistry:
    return MemberRegistry(Identity(process=process, node=node, pid=1), make_store(process), is_gone=is_gone)


def silent_for(process: str, seconds: float) -> None:
    Member.objects.filter(pk=process).update(seen_at=datetime.now(UTC) - timedelta(seconds=seconds))


def running(process: str, count: int = 3) -> list[str]:
    """Ids of requests started by the process."""
    drafts = [draft_of(make_turn(), opening()) for _ in range(count)]
    make_store(process).write([Record(draft, final=False) for draft in drafts])
    return [draft.id for draft in drafts]


def interrupted() -> set[str]:
    return set(Trace.objects.filter(status="interrupted").values_list("pk", flat=True))


def counted() -> int:
    return sum(row.interrupted for row in Rollup.objects.filter(resolution_s=HOUR_S, dimension="all"))


def test_interrupt_requests_of_silent_remote_process_once() -> None:
    a, b, c = (make_registry(name, node=name) for name in ("a", "b", "c"))
    for registry in (a, b, c):
        registry.join()
    lost = running("a")
    silent_for("a", SILENT_AFTER_S + 1)
    assert [peer.process for peer in b.peers()] == ["c"]
    assert b.heartbeat("", allow_eviction=True).lost == []
    silent_for("a", DEAD_AFTER_S + 1)
    assert b.heartbeat("", allow_eviction=False).lost == []

    assert b.heartbeat("", allow_eviction=True).lost == ["a"]
    assert c.heartbeat("", allow_eviction=True).lost == []
    assert interrupted() == set(lost)
    assert counted() == 3


def test_treat_ended_local_process_as_dead_at_once() -> None:
    make_registry("a").join()
    lost = running("a")
    b = make_registry("b", is_gone=lambda name: name == "a")
    assert b.join() == ["a"]
    assert interrupted() == set(lost)
    assert not Member.objects.filter(pk="a").exists()


def test_interrupt_requests_of_unknown_processes_at_start() -> None:
    make_registry("known", node="elsewhere").join()
    kept, lost = running("known"), running("unknown")
    make_registry("b").join()
    assert interrupted() == set(lost)
    assert Trace.objects.filter(status="active").count() == len(kept)


def test_rejoin_after_being_taken_for_dead() -> None:
    a = make_registry("a", node="elsewhere")
    a.join()
    assert not a.heartbeat("", allow_eviction=True).disowned
    Member.objects.all().delete()
    assert a.heartbeat("", allow_eviction=True).disowned
    assert not a.heartbeat("", allow_eviction=True).disowned


def test_count_request_of_presumed_dead_process_once() -> None:
    store, draft = make_store("a"), draft_of(make_turn(), opening())
    store.write([Record(draft, final=False)])
    assert store.mark_interrupted("a") == 1
    draft.disowned = True
    for event in course()[3:]:
        draft.apply(event)
    store.write([Record(draft, final=True)])

    assert Trace.objects.get().status == "completed"
    assert sum(row.requests for row in Rollup.objects.filter(resolution_s=HOUR_S, dimension="all")) == 1


def test_run_command_once_and_drop_it_with_its_process() -> None:
    a, b = make_registry("a"), make_registry("b")
    a.join()
    b.join()
    b.send_command("a", "cancel", "req_1")
    b.send_command("a", "retire", "w1")
    assert a.heartbeat("", allow_eviction=False).commands == [("cancel", "req_1"), ("retire", "w1")]
    assert a.heartbeat("", allow_eviction=False).commands == []
    b.send_command("a", "cancel", "req_2")
    silent_for("a", DEAD_AFTER_S + 1)
    assert b.heartbeat("", allow_eviction=True).lost == ["a"]
    assert not Errand.objects.exists()


@asynccontextmanager
async def serving(folder: Path, process: str, gateway: Gateway | None = None) -> AsyncIterator[Service]:
    service = Service(gateway or Gateway(), Config(log_dir=folder, retention_days=30, node=process, process=process))
    await service.start()
    try:
        yield service
    finally:
        await service.stop(10)


async def test_show_and_cancel_other_processes_by_database_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(cluster_module, "CACHE_S", 0.0)
    gateway = Gateway(retirable={"w2"})
    async with serving(tmp_path, "north", gateway) as north, serving(tmp_path, "south", Gateway()) as south:
        turn = make_turn()
        for event in opening():
            gateway.observers.publish(turn, event)
        gateway.cancellable = {turn.id}

        async def shown() -> list[tuple[str, str]]:
            return [(run["id"], run["node"]) for state in await south.cluster.peers() for run in state["runs"]]

        async def is_shown() -> bool:
            return await shown() == [(turn.id, "north")]

        await eventually_async(is_shown)
        south.gateway.cancellable.clear()  # type: ignore[attr-defined]  # a builder
        assert await south.cluster.cancel(turn.id)
        await eventually_async(lambda: turn.id in gateway.cancelled)
        assert not await south.cluster.cancel("req_unknown")
        gateway.observers.publish(turn, finished())
        assert (await north.cluster.members())[1]["node"] == "south"
    assert not await Member.objects.aexists()


async def test_wait_for_heartbeats_after_database_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, "north") as north:
        cluster, allowed = north.cluster, list[bool]()

        def heartbeat(state: str, *, allow_eviction: bool) -> registry_module.Heartbeat:
            allowed.append(allow_eviction)
            if len(allowed) == 2:
                raise DatabaseError("away")
            return registry_module.Heartbeat()

        now = [1_000_000.0]
        monkeypatch.setattr("observability.cluster.cluster.time.time", lambda: now[0])
        monkeypatch.setattr(cluster._registry, "heartbeat", heartbeat)
        for task in cluster._tasks:
            task.cancel()
        for pause_s in (0, 2, 2, 2, 2, 2, 2, 60, 2, 2, 2, 2, 2):
            now[0] += pause_s
            try:
                await cluster._heartbeat()
            except DatabaseError:
                cluster._stable_since = float("inf")
                cluster._last_heartbeat_at = 0.0
    #                 0      2: away  4..12: not yet           14     60 later..8          10
    assert allowed == [False, False, *[False] * 4, False, *[False] * 5, True]


def test_seats_count_together_and_a_successor_counts_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    def sit(number: int) -> tuple[Metrics, Recorder]:
        metrics = Metrics(Seat(number, tmp_path))
        return metrics, Recorder([metrics], names=ModelNames(), on_gap=metrics.observe_gap)

    def run(recorder: Recorder) -> None:
        turn = make_turn()
        for event in course():
            recorder.on_event(turn, event)

    def seen(metrics: Metrics) -> dict[str, float]:
        metrics.flush({"trace": 2})
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(metrics.render("")[0].decode()):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0) + sample.value
        return found

    (first, first_hears), (second, second_hears) = sit(0), sit(1)
    run(first_hears)
    run(second_hears)
    second.flush({"trace": 2})
    before = seen(first)
    assert before["claude_proxy_requests_total"] == 2
    assert before["claude_proxy_dropped_total"] == 4
    assert before["claude_proxy_duration_seconds_count"] == 2
    assert before["claude_proxy_inter_token_gap_seconds_count"] > 0

    third, third_hears = sit(1)  # replaces the second
    after = seen(third)
    assert all(after[name] >= value for name, value in before.items())
    run(third_hears)
    assert seen(first)["claude_proxy_requests_total"] == 3
