"""Clients that leave, or read nothing: the upstream call ends, the worker is free, and nothing of theirs stays."""

import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import psutil
import pytest

from tests.support.engine import body_of, mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

TIMES = 30
FREE_WITHIN_S = 2.0
"""Twice what is promised: the machine may be busy with other tests."""
STALL_S = 2.0


@pytest.fixture(scope="module")
def own(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with two slots, so that a lost one shows."""
    env = {
        "CLAUDE_PROXY_MAX_CONCURRENT": "2",
        "CLAUDE_PROXY_WARM_WORKERS": "1",
        "CLAUDE_PROXY_STALL_TIMEOUT_MS": str(int(STALL_S * 1000)),
    }
    gateway = GatewayProcess(tmp_path_factory.mktemp("leaving"), upstream=stand_in.base_url, env=env).start()
    yield gateway
    gateway.stop()


def is_idle(gateway: GatewayProcess) -> bool:
    with gateway.http() as client:
        queue = client.get("/").json()["queue"]
    return (queue["active"], queue["waiting"]) == (0, 0)


def connect(gateway: GatewayProcess, body: dict[str, Any], *, receive_buffer: int = 0) -> socket.socket:
    """Sends the request over a socket of its own."""
    address = urlsplit(gateway.base_url)
    connection = socket.socket()
    connection.settimeout(20)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect((address.hostname, address.port))
    content = orjson.dumps(body)
    head = f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {gateway.api_key}\r\n"
    connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    return connection


def test_free_slots_and_processes_of_disconnected_clients(own: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()
    took: list[float] = []
    for number in range(TIMES):
        each = f"{sent}-{number}."
        with own.http() as client, client.stream("POST", "/v1/messages", json=body_of(
            f"{each} [[n=1000]] [[gap=0.02]]", stream=True
        )) as response:  # fmt: skip
            next(response.iter_raw())
        left_at = time.monotonic()
        exchange = stand_in.ended(each, within_s=FREE_WITHIN_S)
        eventually(lambda: is_idle(own), within_s=FREE_WITHIN_S)
        took.append(time.monotonic() - left_at)
        assert exchange.closed_by_client

    assert len(own.workers()) <= 3
    with own.http() as client:
        assert client.post("/v1/messages", json=body_of("[[n=1]]")).status_code == 200
    assert sorted(took)[len(took) // 2] < FREE_WITHIN_S / 2


@pytest.mark.parametrize("prompt", ["[[silent]]", "[[n=1000]] [[gap=0.02]]"])
def test_end_upstream_call_when_plain_client_disconnects(
    own: GatewayProcess, stand_in: StandInProcess, prompt: str
) -> None:
    sent = mark()
    connection = connect(own, body_of(f"{sent} {prompt}"))
    eventually(lambda: stand_in.recorded(containing=sent))

    connection.close()

    assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client
    eventually(lambda: is_idle(own), within_s=FREE_WITHIN_S)


def test_end_upstream_call_on_disconnect_before_first_byte(own: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()
    connection = connect(own, body_of(f"{sent} [[silent]]", stream=True))
    eventually(lambda: stand_in.recorded(containing=sent))

    connection.close()

    assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client
    eventually(lambda: is_idle(own), within_s=FREE_WITHIN_S)


def test_forget_client_that_disconnects_while_sending(own: GatewayProcess) -> None:
    address = urlsplit(own.base_url)
    with socket.create_connection((address.hostname, address.port or 0)) as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{")

    assert is_idle(own)


def test_answer_next_request_on_the_same_connection(own: GatewayProcess) -> None:
    with httpx.Client(base_url=own.base_url, headers={"x-api-key": own.api_key}, timeout=30) as client:
        texts = [
            client.post("/v1/messages", json=body_of(f"[[say={number}]]")).json()["content"][0]["text"]
            for number in range(3)
        ]

    assert texts == ["0", "1", "2"]


@pytest.mark.fault(
    "The client", "reads nothing of its stream", after="upstream call ended, slot free, connection cut, memory bound"
)
def test_bound_memory_and_slot_time_of_client_not_reading(own: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()
    before = psutil.Process(own.pid).memory_info().rss
    connection = connect(own, body_of(f"{sent} [[n=150000]] [[midhang=149999]]", stream=True), receive_buffer=4096)

    exchange = stand_in.ended(sent, within_s=60)

    grown = psutil.Process(own.pid).memory_info().rss - before
    assert exchange.closed_by_client
    assert grown < 150 * 2**20
    eventually(lambda: is_idle(own), within_s=10)
    # And it is cut off, so that its connection and what waits in it do not stay for ever.
    eventually(lambda: not open_connections(own, connection), within_s=3 * STALL_S)
    connection.close()


def open_connections(gateway: GatewayProcess, client: socket.socket) -> list[Any]:
    """The server's end of the client's connection, where it is still open."""
    port = client.getsockname()[1]
    return [
        connection
        for connection in psutil.Process(gateway.pid).net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr.port == port
    ]


@pytest.mark.fault("The client", "reads slowly", streamed="200, every character")
def test_give_slow_reader_every_character(own: GatewayProcess) -> None:
    connection = connect(own, body_of("[[n=30000]]", stream=True), receive_buffer=4096)
    received = bytearray()
    with connection:
        while not received.endswith(b"0\r\n\r\n"):
            received += connection.recv(65_536)

    text = "".join(
        orjson.loads(line[6:])["delta"]["text"]
        for line in dechunked(bytes(received)).split(b"\n")
        if b'"text_delta"' in line
    )
    assert text == "".join(f"tok{number} " for number in range(30_000))


def dechunked(response: bytes) -> bytes:
    """The body of a chunked response."""
    rest, body = response.partition(b"\r\n\r\n")[2], bytearray()
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return bytes(body)
