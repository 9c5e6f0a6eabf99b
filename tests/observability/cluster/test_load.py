"""Load history of one process and of several."""

from pathlib import Path

import pytest

from observability.cluster.load import STEPS, LoadHistory, total_load
from observability.live.broadcast import Broadcaster
from observability.payloads import Load
from observability.service import Config, Service
from tests.observability.builders import Gateway
from tests.support.waiting import eventually_async


def test_remember_last_two_minutes() -> None:
    history = LoadHistory()
    for number in range(STEPS + 5):
        history.record({"active": number, "waiting": 2 * number, "max": 4})
    told = history.as_payload()
    assert told["active"] == list(range(5, STEPS + 5))
    assert told["waiting"] == [2 * number for number in range(5, STEPS + 5)]


def test_sum_newest_values_of_several_processes() -> None:
    young: Load = {"active": [1, 2], "waiting": [0, 5]}
    old: Load = {"active": [3, 0, 4], "waiting": [7, 0, 1]}
    assert total_load([young, old]) == {"active": [3, 1, 6], "waiting": [7, 0, 6]}
    assert total_load([]) == {"active": [], "waiting": []}


@pytest.mark.django_db(transaction=True)
async def test_send_history_to_new_page(tmp_path: Path) -> None:
    service = Service(Gateway(), Config(log_dir=tmp_path, retention_days=30))
    await service.start()
    try:
        await eventually_async(lambda: service.cluster.load()["active"], within_s=10)
        snapshot = await Broadcaster(service).current_snapshot()
    finally:
        await service.stop()
    assert set(snapshot["load"]["active"]) == {1}
    assert set(snapshot["load"]["waiting"]) == {2}
