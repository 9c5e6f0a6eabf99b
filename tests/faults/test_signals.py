"""Signals while requests are in every phase: each client gets its end, and nothing is left."""

import contextlib
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from apiproxy.core.turns import EngineName
from tests.faults import unruly_cli
from tests.faults.support import Prepared, Seen, Watched, body_of, settings_of, unruly_gateway
from tests.support.gateway import GatewayProcess
from tests.support.matrix import SAME, Expected
from tests.support.processes import is_alive
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

PHASES = {
    "in the middle of its stream": ("[[n=9]] [[midhang=2]]", True, "streaming"),
    "before its first byte": ("[[silent]]", True, "worker_ready"),
    "not streamed": ("[[n=9]] [[midhang=2]]", False, "streaming"),
    "waiting for a slot": ("[[n=1]]", True, "queued"),
}
DRAIN_MS = 300


class Asking(threading.Thread):
    """A client; `seen` is what it got, None where the connection broke."""

    def __init__(self, watched: Watched, prompt: str, *, stream: bool) -> None:
        super().__init__(daemon=True)
        self._watched = watched
        self._body = body_of(prompt, stream=stream)
        self.seen: Seen | None = None

    def run(self) -> None:
        key = self._watched.keys["limited"]
        with contextlib.suppress(httpx.TransportError), self._watched.process.http(**{"x-api-key": key}) as client:
            response = client.post("/v1/messages", json=self._body)
            self.seen = Seen(response.status_code, response.text, response.headers)


@pytest.fixture
def watched(engine: EngineName, prepared: Prepared, stand_in: StandInProcess, tmp_path: Path) -> Iterator[Watched]:
    env = {**settings_of(engine, slots=3), "CLAUDE_PROXY_DRAIN_TIMEOUT_MS": str(DRAIN_MS)}
    process = prepared.put_into(GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env)).start()
    yield Watched(process, prepared.secrets)
    process.stop()


def ask_in_every_phase(watched: Watched, engine: EngineName) -> dict[str, Asking]:
    """A request in each phase."""
    clients = {}
    for name, (prompt, stream, phase) in PHASES.items():
        if engine == "http" and not stream:
            phase = "worker_ready"  # its answer comes as a whole
        clients[name] = Asking(watched, prompt, stream=stream)
        clients[name].start()
        wait_for(watched, phase, number=len(clients))
    return clients


def wait_for(watched: Watched, phase: str, *, number: int) -> None:
    """Waits until there are so many requests, and one of them is in that phase."""

    def there() -> bool:
        phases = [run["phase"] for run in active(watched)]
        return len(phases) == number and phase in phases

    eventually(there, within_s=20, why=phase)


def active(watched: Watched) -> list[dict[str, str]]:
    found: list[dict[str, str]] = watched.get("/debug/active")["activeRequests"]
    return found


def kept(watched: Watched, *, rows: int = len(PHASES)) -> tuple[set[str], int]:
    """Number of requests by ending in the database, and open reservations."""
    with closing(sqlite3.connect(watched.process.state_dir / "db.sqlite3")) as database:
        found = database.execute("SELECT end_reason FROM observability_trace WHERE key_label = 'limited'").fetchall()
    assert len(found) == rows
    return {reason for (reason,) in found}, watched.reservations()


def ends(number: str, what: str, plain: str, streamed: str, **more: object) -> pytest.MarkDecorator:
    return pytest.mark.fault(
        number, what, plain=plain, streamed=streamed, trace="interrupted", after="no process, no reservation", **more
    )


DRAINED = "503 overloaded_error"
BROKEN = "the connection breaks"


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            id=number.name,
            marks=ends(
                number.name,
                "while requests wait, run and stream, and do not end within the drain",
                DRAINED,
                f"{DRAINED}, or 200, error event overloaded_error",
                http=SAME,
            ),
        )
        for number in (signal.SIGTERM, signal.SIGINT)
    ],
)
def test_end_every_request_with_error_on_signal(
    watched: Watched, engine: EngineName, expected: Expected, number: signal.Signals
) -> None:
    clients = ask_in_every_phase(watched, engine)
    workers = watched.process.workers()
    signalled(watched, number)
    assert watched.process.process.wait(within_s=30) == 0
    for client in clients.values():
        client.join(10)
    said = {name: str(client.seen) for name, client in clients.items()}
    assert said == dict.fromkeys(PHASES, DRAINED) | {"in the middle of its stream": "200, error event overloaded_error"}
    assert bool(workers) == (engine == "sdk")
    eventually(lambda: not [worker for worker in workers if is_alive(worker.pid)])
    assert kept(watched) == ({expected.trace}, 0)


@pytest.mark.fault(
    "SIGKILL",
    "while requests wait, run and stream",
    plain=BROKEN,
    streamed=BROKEN,
    trace="interrupted",
    after="no process; at the next start no reservation",
    http=SAME,
)
def test_interrupt_and_release_everything_after_kill(watched: Watched, engine: EngineName, expected: Expected) -> None:
    clients = ask_in_every_phase(watched, engine)
    eventually(lambda: not watched.get("/debug/health")["traces"]["pending"])
    workers = watched.process.workers()
    assert watched.reservations() == len(PHASES)
    watched.process.process.kill()
    for client in clients.values():
        client.join(10)
    broken = [client.seen is None for name, client in clients.items() if name != "in the middle of its stream"]
    assert broken == [True] * 3
    assert bool(workers) == (engine == "sdk")
    eventually(lambda: not [worker for worker in workers if is_alive(worker.pid)])
    watched.process.stop()
    watched.process.start()
    eventually(lambda: kept(watched) == ({expected.trace}, 0), why="the last start's requests")
    assert str(watched.ask("[[n=1]]")) == "200"
    assert watched.comes_to_rest() == "at rest"


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=ends("SIGTERM", "while a request waits for its worker", DRAINED, DRAINED)),
        pytest.param(signal.SIGINT, marks=ends("SIGINT", "while a request waits for its worker", DRAINED, DRAINED)),
        pytest.param(signal.SIGKILL, marks=ends("SIGKILL", "while a request waits for its worker", BROKEN, BROKEN)),
    ],
)
def test_signal_while_request_waits_for_worker(
    prepared: Prepared, tmp_path: Path, expected: Expected, number: signal.Signals
) -> None:
    process = unruly_gateway(prepared, tmp_path, {"CLAUDE_PROXY_DRAIN_TIMEOUT_MS": str(DRAIN_MS)}).start()
    watched = Watched(process, prepared.secrets)
    try:
        (tmp_path / unruly_cli.SLOW).touch()
        for worker in watched.get("/debug/health")["memory"]["workers"]:
            psutil.Process(worker["pid"]).kill()
        clients = [Asking(watched, "[[n=1]]", stream=stream) for stream in (False, True)]
        for count, client in enumerate(clients, 1):
            client.start()
            wait_for(watched, "admitted", number=count)
        eventually(lambda: not watched.get("/debug/health")["traces"]["pending"])
        workers = watched.process.workers()
        signalled(watched, number)
        watched.process.process.wait(within_s=30)
        for client in clients:
            client.join(10)
        assert [str(client.seen or BROKEN) for client in clients] == [expected.plain, expected.streamed]
        assert workers
        eventually(lambda: not [worker for worker in workers if is_alive(worker.pid)], within_s=10)
        (tmp_path / unruly_cli.SLOW).unlink()
        if number == signal.SIGKILL:
            process.stop()
            process.start()
        eventually(lambda: kept(watched, rows=len(clients)) == ({expected.trace}, 0), why="interrupted, nothing held")
    finally:
        process.stop()


def signalled(watched: Watched, number: signal.Signals) -> None:
    send: Callable[[int], None] = watched.process.process._popen.send_signal
    send(number)
