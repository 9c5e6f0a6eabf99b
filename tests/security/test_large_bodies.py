"""A real gateway goes on serving while it is sent the bodies that once stopped it."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.attacks import ATTACKS, MODEL
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

_ANSWER_S = 60.0
_MEGABYTE = 1024 * 1024
_BASE_MB = 250
"""What a body may cost beside its own size: a worker's and the server's own ups and downs."""


@pytest.fixture(scope="module")
def gateway(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    started = GatewayProcess(tmp_path_factory.mktemp("attacked"), upstream=stand_in.base_url).start()
    yield started
    started.stop()


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_answered_within_bounds(gateway: GatewayProcess, name: str) -> None:
    attack = ATTACKS[name]
    body = attack.body()
    server = psutil.Process(gateway.pid)
    before = server.memory_info().rss

    with gateway.http() as client:
        answer = client.post(attack.path, content=body, headers={"content-type": "application/json"}, timeout=_ANSWER_S)

    assert answer.status_code == attack.status, answer.text[:500]
    if attack.status == 400:
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert server.memory_info().rss - before <= 20 * len(body) + _BASE_MB * _MEGABYTE


def test_heavy_worker_goes_after_a_large_body(stand_in: StandInProcess, tmp_path: Path) -> None:
    """Its memory is looked at at once, and not at its tenth turn."""
    env = {"CLAUDE_PROXY_WORKER_MAX_RSS_MB": "100", "CLAUDE_PROXY_WARM_WORKERS": "1"}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        before = {worker.pid for worker in gateway.workers()}
        with gateway.http() as client:
            body = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "a" * (4 * _MEGABYTE)}]}
            assert client.post("/v1/messages", json=body).status_code == 200
        eventually(lambda: before - {worker.pid for worker in gateway.workers()}, within_s=60, why="a worker has gone")
    finally:
        gateway.stop()
