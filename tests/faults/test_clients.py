"""Clients that leave at any moment, or send too slowly: nothing of theirs stays."""

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from apiproxy.core.turns import EngineName
from tests.faults.support import Prepared, Watched, body_of, settings_of
from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.matrix import SAME, Expected
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

CLIENT = "The client"
REQUEST_TIMEOUT_S = 0.6
LEFT = "client_disconnect"


@pytest.fixture(scope="module")
def watched(
    engine: EngineName, prepared: Prepared, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """One slot, so that a second request waits; no spare worker, so that one can be waited for."""
    env = {
        **settings_of(engine, slots=1, spares=0),
        "CLAUDE_PROXY_REQUEST_TIMEOUT_MS": str(int(REQUEST_TIMEOUT_S * 1000)),
    }
    process = prepared.put_into(
        GatewayProcess(tmp_path_factory.mktemp("clients"), upstream=stand_in.base_url, env=env)
    ).start()
    yield Watched(process, prepared.secrets)
    process.stop()


def connect(watched: Watched) -> socket.socket:
    address = urlsplit(watched.process.base_url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=20)


def head_of(watched: Watched, length: int) -> bytes:
    headers = f"host: localhost\r\nx-api-key: {watched.keys['limited']}\r\ncontent-length: {length}\r\n"
    return f"POST /v1/messages HTTP/1.1\r\n{headers}\r\n".encode()


def send(watched: Watched, prompt: str, *, stream: bool) -> socket.socket:
    """A request over a connection of its own."""
    content = orjson.dumps(body_of(prompt, stream=stream))
    connection = connect(watched)
    connection.sendall(head_of(watched, len(content)) + content)
    return connection


def active(watched: Watched) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = watched.get("/debug/active")["activeRequests"]
    return found


def wait_for_phase(watched: Watched, phase: str) -> str:
    """The id of the request in that phase, as soon as there is one."""

    def found() -> str:
        return next((str(run["reqId"]) for run in active(watched) if run["phase"] == phase), "")

    return eventually(found, within_s=15, why=phase)


def leave_in_phase(watched: Watched, phase: str, prompt: str, *, stream: bool) -> str:
    """Asks, leaves when the request is in that phase, and tells what was kept of it."""
    connection = send(watched, prompt, stream=stream)
    request_id = wait_for_phase(watched, phase)
    connection.close()
    return watched.trace(request_id)


def leaving(what: str, phase: str, prompt: str, stream: bool) -> object:
    row = pytest.mark.fault(CLIENT, what, trace=LEFT, after="at rest", http=SAME)
    return pytest.param(phase, prompt, stream, marks=row, id=what)


@pytest.mark.parametrize(
    ("phase", "prompt", "stream"),
    [
        leaving("leaves a stream before its first byte", "worker_ready", "[[silent]]", True),
        leaving("leaves a stream in the middle", "streaming", "[[n=9]] [[midhang=2]]", True),
        leaving("leaves a plain request before the upstream's first byte", "worker_ready", "[[silent]]", False),
        leaving("leaves a plain request while the upstream answers", "streaming", "[[n=9]] [[midhang=2]]", False),
    ],
)
def test_free_everything_when_client_disconnects(
    watched: Watched,
    engine: EngineName,
    stand_in: StandInProcess,
    expected: Expected,
    phase: str,
    prompt: str,
    stream: bool,
) -> None:
    if engine == "http" and not stream:
        phase = "worker_ready"  # its answer comes as a whole
    sent = mark()
    connection = send(watched, f"{sent} {prompt}", stream=stream)
    request_id = wait_for_phase(watched, phase)
    eventually(lambda: stand_in.recorded(containing=sent))
    connection.close()
    assert watched.trace(request_id) == expected.trace
    assert stand_in.ended(sent).closed_by_client
    assert watched.comes_to_rest() == expected.after


@pytest.mark.fault(CLIENT, "leaves while it waits for a slot", trace=LEFT, after="at rest", http=SAME)
def test_never_ask_upstream_for_client_that_left_the_queue(
    watched: Watched, stand_in: StandInProcess, expected: Expected
) -> None:
    busy, sent = send(watched, "[[silent]]", stream=True), mark()
    wait_for_phase(watched, "worker_ready")
    assert leave_in_phase(watched, "queued", sent, stream=True) == expected.trace
    busy.close()
    assert watched.comes_to_rest() == expected.after
    assert stand_in.recorded(containing=sent) == []


@pytest.mark.fault(CLIENT, "leaves while it waits for a worker", trace=LEFT, after="at rest")
def test_pass_starting_worker_on_when_client_disconnects(
    watched: Watched, stand_in: StandInProcess, expected: Expected
) -> None:
    for worker in watched.process.workers():
        worker.kill()
    eventually(lambda: watched.get("/debug/health")["memory"]["workers"] == [])
    assert leave_in_phase(watched, "admitted", "[[n=1]]", stream=True) == expected.trace
    assert watched.comes_to_rest() == expected.after
    assert str(watched.ask("[[n=1]]")) == "200"


@pytest.mark.fault(CLIENT, "sends half a body and leaves", trace="none", after="at rest")
def test_half_a_body_is_no_request(watched: Watched, expected: Expected) -> None:
    watched.comes_to_rest()
    before = watched.get("/debug/stats")["requests"]["total"]
    with connect(watched) as connection:
        connection.sendall(head_of(watched, 1000) + b"{")
    assert watched.comes_to_rest() == expected.after
    assert watched.get("/debug/stats")["requests"]["total"] == before


@pytest.mark.fault(
    CLIENT, "sends its body a byte at a time", plain="408 timeout_error, closed", trace="none", after="at rest"
)
def test_give_up_body_that_arrives_too_slowly(watched: Watched, expected: Expected) -> None:
    with connect(watched) as connection:
        connection.sendall(head_of(watched, 1000))
        answer = drip(connection, b"{" + b" " * 900)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"request-id: req_" in head
    assert f"408 {orjson.loads(body)['error']['type']}, closed" == expected.plain
    assert watched.comes_to_rest() == expected.after


@pytest.mark.fault(CLIENT, "sends its headers a byte at a time", plain="408, closed", trace="none", after="at rest")
def test_headers_that_come_too_slowly_are_given_up(watched: Watched, expected: Expected) -> None:
    with connect(watched) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert drip(connection, b"host: localhos" + b"t" * 900).startswith(b"HTTP/1.1 408 ")
    assert watched.comes_to_rest() == expected.after


@pytest.mark.fault(CLIENT, "sends the first line a byte at a time", plain="408, closed", trace="none", after="at rest")
def test_give_up_first_line_that_arrives_too_slowly(watched: Watched, expected: Expected) -> None:
    with connect(watched) as connection:
        assert drip(connection, b"G" * 900).startswith(b"HTTP/1.1 408 ")
    assert watched.comes_to_rest() == expected.after


def test_restart_deadline_for_each_request_of_a_connection(watched: Watched) -> None:
    with watched.process.http() as client:
        started = time.monotonic()
        while time.monotonic() < started + 2 * REQUEST_TIMEOUT_S:
            assert client.get("/healthz").status_code == 200
        connections = client._transport._pool.connections  # type: ignore[attr-defined]  # that it was one
        assert len(connections) == 1


def test_let_answer_take_longer_than_request(watched: Watched) -> None:
    assert str(watched.ask("[[n=3]] [[gap=0.5]]", stream=True)) == "200"


def drip(connection: socket.socket, data: bytes) -> bytes:
    """Sends a byte now and then until the server closes the connection; what it said."""
    answer = b""
    connection.settimeout(0.05)
    deadline = time.monotonic() + 20
    for number in range(len(data)):
        assert time.monotonic() < deadline, "the server waits for ever"
        with contextlib.suppress(ConnectionError):
            connection.sendall(data[number : number + 1])
        try:
            received = connection.recv(65_536)
        except TimeoutError:
            continue
        except ConnectionError:
            return answer
        if not received:
            return answer
        answer += received
    raise AssertionError("the server took all of it")
