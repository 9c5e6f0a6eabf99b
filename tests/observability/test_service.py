"""The whole of it in one process: events in, rows, sums, metrics and answers out."""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Event
from apiproxy.db import process_id
from observability import service as service_module
from observability.models import Trace
from observability.service import Config, Service
from observability.stats import figures
from tests.observability.builders import Gateway, answer, course, failed, finished, left, make_turn, opening, refused
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Service]:
    config = Config(log_dir=folder, retention_days=30, process=process_id.owner(), is_gone=process_id.is_gone)
    service = Service(Gateway(), config)
    await service.start()
    try:
        yield service
    finally:
        await service.stop(10)


_ENDINGS: list[tuple[str, str, Event, int]] = [
    ("completed", "completed", finished(), 6),
    ("cancelled", "client_disconnect", left(), 6),
    ("error", "upstream_error", failed(), 6),
    ("error", "stall", failed(kind=FailureKind.STALL), 6),
    ("error", "worker_died", failed(kind=FailureKind.WORKER_DIED), 3),
    ("error", "queue_timeout", failed(kind=FailureKind.QUEUE_TIMEOUT), 1),
    ("refused", "refused", refused(), 0),
    ("refused", "refused", refused(kind=FailureKind.RATE_LIMITED), 0),
]


async def _client(service: Service, number: int, requests: int, expected: dict[str, tuple[str, str]]) -> None:
    dice = random.Random(number)
    for _ in range(requests):
        status, reason, ending, steps = dice.choice(_ENDINGS)
        turn = make_turn(key_id=None if status == "refused" else number % 3)
        expected[turn.id] = status, reason
        for event in [*[*opening(), *answer()][:steps], ending]:
            service.gateway.observers.publish(turn, event)
            if dice.random() < 0.2:
                await asyncio.sleep(0)


async def test_add_up_thousand_rows_of_eight_clients(tmp_path: Path) -> None:
    expected: dict[str, tuple[str, str]] = {}
    async with serving(tmp_path) as service:
        await asyncio.gather(*(_client(service, number, 125, expected) for number in range(8)))
        assert await asyncio.to_thread(service.writer.flush, 30)
        sums = await figures.totals()
        await service.update_metrics()
        text, _ = service.metrics.render("")
        assert service.dropped() == {"trace": 0, "log_line": 0, "settlement": 0}

    rows = {trace.pk: trace async for trace in Trace.objects.all()}
    assert {pk: (row.status, row.end_reason) for pk, row in rows.items()} == expected
    for row in rows.values():
        phases = [
            row.received_at, row.queued_at, row.admitted_at, row.worker_ready_at, row.first_event_at,
            row.first_token_at, row.last_event_at, row.finished_at,
        ]  # fmt: skip
        reached = [at for at in phases if at is not None]
        assert reached == sorted(reached)
    by_status = Counter(status for status, _ in expected.values())
    assert (sums.requests, sums.completed, sums.errors) == (1_000, by_status["completed"], by_status["error"])
    assert (sums.cancelled, sums.refused) == (by_status["cancelled"], by_status["refused"])
    assert sums.output_tokens == sum(row.output_tokens for row in rows.values())

    counted: Counter[str] = Counter()
    tokens = 0.0
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == "claude_proxy_requests_total":
                counted[sample.labels["end_reason"]] += int(sample.value)
            if sample.name == "claude_proxy_tokens_total" and sample.labels["kind"] == "output":
                tokens += sample.value
    assert counted == Counter(reason for _, reason in expected.values())
    assert tokens == sums.output_tokens


async def _reaches(trace_id: str, status: str) -> None:
    async with asyncio.timeout(10):
        while not await Trace.objects.filter(pk=trace_id, status=status).aexists():  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0.02)


async def test_show_active_request_until_it_ends(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        turn = make_turn()
        for event in opening():
            service.gateway.observers.publish(turn, event)
        assert [draft.id for draft in service.active()] == [turn.id]
        await _reaches(turn.id, "active")
        service.gateway.observers.publish(turn, finished())
        assert service.active() == []
        await _reaches(turn.id, "completed")


async def test_write_last_records_at_stop(tmp_path: Path) -> None:
    turn = make_turn()
    async with serving(tmp_path) as service:
        for event in course():
            service.gateway.observers.publish(turn, event)

    assert (await Trace.objects.aget(pk=turn.id)).status == "completed"


async def test_ignore_events_after_stop(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        pass
    service.gateway.observers.publish(make_turn(), refused())

    assert not await Trace.objects.aexists()


async def test_start_while_database_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service_module, "_START_S", 0.0)
    with caplog.at_level(logging.WARNING):
        async with serving(tmp_path) as service:
            turn = make_turn()
            for event in course():
                service.gateway.observers.publish(turn, event)

    assert "trace.start_failed" in caplog.text
    assert await Trace.objects.filter(pk=turn.id).aexists()


_CRASHING = """
import asyncio, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "proxy_site.settings"
import django
django.setup()
from pathlib import Path
from apiproxy.db import process_id
from observability.service import Config, Service
from tests.observability.builders import Gateway, course, make_turn, opening

async def main():
    config = Config(log_dir=Path("/nonexistent"), retention_days=30, process=process_id.owner())
    service = Service(Gateway(), config)
    await service.start()
    for number in range(40):
        turn = make_turn()
        for event in course() if number % 2 else opening():
            service.gateway.observers.publish(turn, event)
    await asyncio.to_thread(service.writer.flush, 30)
    print("written", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """The address of the database of this test, for another process."""
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        yield f"sqlite:///{connection.settings_dict['NAME']}"
    else:
        options = connection.settings_dict
        yield f"postgres://{options['USER']}:{options['PASSWORD']}@{options['HOST']}:{options['PORT']}/{options['NAME']}"


def test_mark_interrupted_requests_at_start_after_kill(database_url: str, tmp_path: Path) -> None:
    environment = os.environ | {"DATABASE_URL": database_url}
    crashed = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _CRASHING], stdout=subprocess.PIPE, env=environment, text=True
    )
    try:
        assert crashed.stdout is not None
        assert crashed.stdout.readline() == "written\n"
    finally:
        crashed.send_signal(signal.SIGKILL)
        crashed.wait(10)
        if crashed.stdout is not None:
            crashed.stdout.close()
    assert Trace.objects.filter(status="active").count() == 20

    async def restart() -> None:
        async with serving(tmp_path):
            sums = await figures.totals()
            assert (sums.requests, sums.completed, sums.interrupted) == (40, 20, 20)

    asyncio.run(restart())
    assert Counter(Trace.objects.values_list("end_reason", flat=True)) == {"completed": 20, "interrupted": 20}
    eventually(lambda: not Trace.objects.filter(status="active").exists())
