"""A gateway whose workers cannot start: it says so, refuses with 502, and serves as soon as they can."""

import threading
from pathlib import Path

import httpx
import pytest

from tests.support.engine import body_of
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long


@pytest.fixture
def blocked(stand_in: StandInProcess, tmp_path: Path) -> GatewayProcess:
    """A gateway, not started yet, where the workers' folder is a file: no worker can have a folder of its own."""
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env={"CLAUDE_PROXY_WARM_WORKERS": "1"})
    gateway.state_dir.mkdir()
    (gateway.state_dir / "workers").write_text("")
    return gateway


@pytest.mark.fault("The CLI", "cannot be started at all", plain="502 api_error", after="/readyz 503 until it can")
def test_recover_readiness_without_workers(blocked: GatewayProcess) -> None:
    starting = threading.Thread(target=blocked.start)  # which waits until it is ready
    starting.start()
    try:
        eventually(lambda: blocked.base_url, within_s=120)
        with blocked.http() as client:
            ready, alive = client.get("/readyz"), client.get("/healthz")
            refused = client.post("/v1/messages", json=body_of("[[n=1]]"))

        assert (ready.status_code, alive.status_code) == (503, 200)
        assert refused.status_code == 502
        assert refused.json()["error"] == {"type": "api_error", "message": "The gateway could not start a worker."}
        assert "No worker could be started yet" in blocked.output
    finally:
        (blocked.state_dir / "workers").unlink()
        starting.join(60)
    try:
        assert httpx.get(f"{blocked.base_url}/readyz", timeout=10).status_code == 200
        with blocked.http() as client:
            assert client.post("/v1/messages", json=body_of("[[n=1]]")).status_code == 200
    finally:
        assert blocked.stop() == 0
