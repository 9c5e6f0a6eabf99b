"""The supervisor over one process, the default: renewals, a stuck or dying process, a terminal that is closed."""

import contextlib
import os
import pty
import re
import resource
import secrets
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.serve.test_serve import Reader, asked
from tests.support.gateway import GatewayProcess
from tests.support.processes import is_alive
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

WATCHDOG_MS = 3_000
SUPERVISOR_MB = 40
MAX_PAUSE_S = 2.0
"""While no other process takes connections."""

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.long]


@contextlib.contextmanager
def started(folder: Path, stand_in: StandInProcess) -> Iterator[GatewayProcess]:
    env = {
        "CLAUDE_PROXY_MAX_CONCURRENT": "2",
        "CLAUDE_PROXY_WARM_WORKERS": "1",
        "CLAUDE_PROXY_WATCHDOG_MS": str(WATCHDOG_MS),
    }
    gateway = GatewayProcess(folder, upstream=stand_in.base_url, env=env).start()
    yield gateway
    gateway.stop()


@pytest.fixture
def own(stand_in: StandInProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that the test may leave in any state."""
    with started(tmp_path, stand_in) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def shared(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with started(tmp_path_factory.mktemp("shared"), stand_in) as gateway:
        yield gateway


@pytest.fixture
def single(shared: GatewayProcess) -> GatewayProcess:
    """A gateway with one process, which other tests may have replaced."""

    def one_is_ready() -> bool:
        try:
            return len(shared.servers()) == 1 and answered(shared) == 200
        except httpx.TransportError:
            return False

    eventually(one_is_ready, within_s=60)
    shared.pid = shared.servers()[0].pid
    return shared


def answered(gateway: GatewayProcess) -> int:
    with gateway.http() as client:
        return client.post("/v1/messages", json=asked("[[n=1]]")).status_code


@pytest.mark.fault(
    "SIGHUP", "while an answer streams", plain="200", streamed="200", after="a new process on the socket"
)
def test_sighup_renews_a_single_process_and_cuts_no_turn(own: GatewayProcess) -> None:
    old = own.pid
    reader = Reader(own, "[[n=60]] [[gap=0.1]]")
    reader.start()
    assert reader.begun.wait(30)
    own.process.send_signal(signal.SIGHUP)
    eventually(lambda: any(server.pid != old for server in own.servers()), within_s=30)
    assert answered(own) == 200
    reader.join(60)
    assert "event: message_stop" in reader.text
    eventually(lambda: "All processes have been replaced." in own.output, within_s=60)
    (new,) = own.servers()
    assert new.pid != old
    assert answered(own) == 200
    with closing(sqlite3.connect(own.state_dir / "db.sqlite3")) as database:
        query = "SELECT COUNT(*) FROM observability_trace WHERE status <> 'completed'"
        eventually(lambda: database.execute(query).fetchone() == (0,), why="no trace stays active")


def test_replaces_a_successor_that_dies_beside_the_old_one(own: GatewayProcess) -> None:
    old, address = own.pid, urlsplit(own.base_url)
    reader = Reader(own, "[[n=900]] [[gap=0.1]]")
    reader.start()
    assert reader.begun.wait(30)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as idle:
        own.process.send_signal(signal.SIGHUP)
        assert idle.recv(1) == b"", "the old process takes no connections any more, and closes those without a request"
    (new,) = [server for server in own.servers() if server.pid != old]
    new.kill()
    eventually(lambda: not is_alive(new.pid))
    eventually(lambda: ask_patiently(own) == 200, within_s=60)
    assert is_alive(old), "its answer goes on"
    os.kill(old, signal.SIGKILL)  # the gateway's end would wait for that answer


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux only")
def test_starts_a_process_when_the_machine_can_again(single: GatewayProcess) -> None:
    supervisor, old, shown = single.process.pid, single.pid, len(single.output)
    before = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (4, before[1]))
    os.kill(old, signal.SIGKILL)
    eventually(lambda: "No process can be started (Too many open files)" in single.output[shown:], within_s=30)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, before)
    eventually(lambda: bool(single.servers()), within_s=30)
    eventually(lambda: ask_patiently(single) == 200, within_s=60)
    assert len(single.servers()) == 1


def test_sighup_on_a_terminal_drains_and_exits(stand_in: StandInProcess, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = {"CLAUDE_PROXY_WARM_WORKERS": "1"}
    single = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env, stdin=theirs)
    try:
        single.start()
        reader = Reader(single, "[[n=40]] [[gap=0.1]]")
        reader.start()
        assert reader.begun.wait(30)
        for _ in range(2):  # as a kernel and a shell do
            single.process.send_signal(signal.SIGHUP)
        reader.join(60)
        assert "event: message_stop" in reader.text
        assert single.process.wait(within_s=30) == 0
    finally:
        single.stop()
        os.close(ours)
        os.close(theirs)


@pytest.mark.fault("The process", "is stuck: its event loop does not run", after="replaced")
def test_replaces_a_process_whose_event_loop_is_stuck(single: GatewayProcess) -> None:
    os.kill(single.pid, signal.SIGSTOP)
    eventually(lambda: not is_alive(single.pid), within_s=30)
    assert f"Process {single.pid} is stuck" in single.output
    eventually(lambda: answered(single) == 200, within_s=60)  # 503 where its start takes longer than the grace
    assert f"Process {single.pid} ended with -9; another is started in 0 s." in single.output


def test_kills_no_process_after_the_whole_machine_slept(single: GatewayProcess) -> None:
    before = len(single.output)
    family = [psutil.Process(single.process.pid), psutil.Process(single.pid)]
    for process in family:
        process.suspend()
    woken_at = time.monotonic() + 3 * WATCHDOG_MS / 1000
    eventually(lambda: time.monotonic() >= woken_at, within_s=60)
    for process in family:
        process.resume()
    assert answered(single) == 200
    quiet_until = time.monotonic() + 2.0
    eventually(lambda: time.monotonic() >= quiet_until, within_s=60)
    assert single.servers() == [family[1]]
    assert "stuck" not in single.output[before:]


def test_answers_clients_while_its_process_dies_again_and_again(own: GatewayProcess) -> None:
    for _ in range(6):
        for server in eventually(own.servers, within_s=30):
            with contextlib.suppress(psutil.NoSuchProcess):
                server.kill()
            eventually(lambda pid=server.pid: not is_alive(pid))  # type: ignore[misc]  # bound now
    with ThreadPoolExecutor(4) as clients:
        statuses = set(clients.map(lambda _: ask_patiently(own), range(8)))
    assert statuses <= {200, 503}
    eventually(lambda: answered(own) == 200, within_s=60)
    pauses = [float(pause) for pause in re.findall(r"another is started in (\S+) s", own.output)]
    assert len(pauses) >= 6
    assert max(pauses) <= MAX_PAUSE_S


def ask_patiently(gateway: GatewayProcess) -> int:
    """The first status that comes; a connection that a process had when it was killed breaks."""
    with httpx.Client(base_url=gateway.base_url, timeout=60) as client:
        return client.post(
            "/v1/messages", json=asked(f"[[n=1]] {secrets.token_hex(4)}"), headers={"x-api-key": gateway.api_key}
        ).status_code


def test_supervisor_is_small(single: GatewayProcess) -> None:
    assert psutil.Process(single.process.pid).memory_info().rss < SUPERVISOR_MB * 2**20
