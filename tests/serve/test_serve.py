"""`manage.py serve` as an operator meets it: its first start, its ends by signal, and its death."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.processes import is_alive
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

GONE_WITHIN_S = 5.0
BODY = {"model": "claude-sonnet-5", "max_tokens": 100}


def asked(text: str, **fields: object) -> dict[str, object]:
    return {**BODY, **fields, "messages": [{"role": "user", "content": text}]}


class Reader(threading.Thread):
    """A client that reads one streamed answer; `text` is what came, `begun` is set with its first byte."""

    def __init__(self, gateway: GatewayProcess, prompt: str) -> None:
        super().__init__(daemon=True)
        self._gateway = gateway
        self._prompt = prompt
        self.begun = threading.Event()
        self.text = ""

    def run(self) -> None:
        body = asked(self._prompt, stream=True)
        with (
            contextlib.suppress(httpx.TransportError),  # a test kills the server under it
            self._gateway.http() as client,
            client.stream("POST", "/v1/messages", json=body) as response,
        ):
            for piece in response.iter_text():
                self.text += piece
                self.begun.set()


@pytest.fixture
def own(stand_in: StandInProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that the test may end as it likes."""
    env = {"CLAUDE_PROXY_MAX_CONCURRENT": "2", "CLAUDE_PROXY_WARM_WORKERS": "1"}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    yield gateway
    gateway.stop()


@pytest.mark.fault(
    "SIGTERM",
    "while an answer ends within the drain",
    plain="503 overloaded_error for new ones",
    streamed="200",
    after="exit code 0, no process",
)
def test_drain_on_sigterm_and_reject_new_requests(own: GatewayProcess) -> None:
    reader = Reader(own, "[[n=60]] [[gap=0.1]]")
    reader.start()
    assert reader.begun.wait(30)
    workers = own.workers()
    own.process.terminate()
    with own.http() as client:
        eventually(lambda: client.get("/readyz").status_code == 503, within_s=10)
        refused = client.post("/v1/messages", json=asked("[[say=no]]"))
    assert refused.status_code == 503  # what a proxy in front takes to another node
    assert refused.json()["error"]["type"] == "overloaded_error"
    assert int(refused.headers["retry-after"]) > 0
    reader.join(40)
    assert "event: message_stop" in reader.text
    assert own.process.wait(within_s=30) == 0
    assert workers
    assert not [worker for worker in workers if is_alive(worker.pid)]


@pytest.mark.fault("SIGTERM", "twice", streamed="200, error event overloaded_error", after="exit code 0")
def test_end_running_streams_with_error_on_second_signal(own: GatewayProcess) -> None:
    reader = Reader(own, "[[n=2]] [[midhang=1]]")
    reader.start()
    assert reader.begun.wait(30)
    own.process.terminate()
    with own.http() as client:
        eventually(lambda: client.get("/readyz").status_code == 503, within_s=10)
    own.process.terminate()
    assert own.process.wait(within_s=30) == 0
    reader.join(10)
    last = reader.text.strip().rsplit("\n\n", 1)[-1]
    assert last.startswith("event: error")
    assert json.loads(last.split("data: ", 1)[1])["error"]["type"] == "overloaded_error"


def test_leave_no_cli_process_after_kill(own: GatewayProcess) -> None:
    reader = Reader(own, "[[n=2]] [[midhang=1]]")
    reader.start()
    assert reader.begun.wait(30)
    workers = own.workers()
    own.process.kill()
    assert workers
    eventually(lambda: not [worker for worker in workers if is_alive(worker.pid)], within_s=GONE_WITHIN_S)


@pytest.mark.fault("SIGKILL", "while workers are warm", after="their folders are swept at the next start")
def test_sweep_state_folder_of_killed_server_at_start(stand_in: StandInProcess, tmp_path: Path) -> None:
    first = GatewayProcess(tmp_path, upstream=stand_in.base_url).start()
    first.process.kill()
    first.stop()
    left = set((first.state_dir / "workers").iterdir())
    second = GatewayProcess(tmp_path, upstream=stand_in.base_url).start()
    try:
        assert left
        assert not left & set((second.state_dir / "workers").iterdir())
    finally:
        assert second.stop() == 0
    assert not list((second.state_dir / "workers").iterdir())


def test_report_taken_port_and_end(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        gateway = GatewayProcess(tmp_path, upstream=None, env={"CLAUDE_PROXY_PORT": port})
        with pytest.raises(AssertionError):
            gateway.start()
    assert gateway.process.wait(within_s=5) == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in gateway.output
