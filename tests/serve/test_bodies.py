"""Whose bodies a gateway reads, and what they may take of its memory."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.fuzz.exchange import Answer, fault_of, send
from tests.limits.gateways import make_keys
from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

MEGABYTE = 2**20
MEMORY_MB = 64
FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}
"""Every large block is a mapping of its own, which goes back when it is freed. By default glibc raises the threshold
with the first one that is freed, and then what large bodies took for a moment stays in the heap: up to 30 MB."""
ORIGIN = "https://app.example.org"
API = {"/v1/messages", "/messages", "/v1/chat/completions", "/v1/responses", "/v1/messages/count_tokens"}
KEYLESS = {"/healthz", "/debug/stats", "/admin/login/", "/nowhere"}


@pytest.fixture(scope="module")
def gateway(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    env = {
        **FREED_AT_ONCE,
        "CLAUDE_PROXY_BODY_MEMORY_MB": str(MEMORY_MB),
        "CLAUDE_PROXY_CORS_ORIGINS": ORIGIN,
        "CLAUDE_PROXY_MAX_CONCURRENT": "4",
        "CLAUDE_PROXY_TRUSTED_PROXIES": "127.0.0.1",
        "CLAUDE_PROXY_WARM_WORKERS": "1",
    }
    process = GatewayProcess(tmp_path_factory.mktemp("bodies"), upstream=stand_in.base_url, env=env).start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def keys(gateway: GatewayProcess) -> dict[str, str]:
    return make_keys(
        gateway,
        {"ann": {}, "bob": {}, "late": {"expires_at": "2020-01-01T00:00:00Z"}, "operator": {"scopes": ["admin"]}},
    )


def head(path: str, *lines: str, key: str = "", length: int | None = 31 * MEGABYTE) -> bytes:
    """The head of a request with a body."""
    keyed = [f"x-api-key: {key}"] if key else []
    framing = ["transfer-encoding: chunked"] if length is None else [f"content-length: {length}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: localhost", *keyed, *lines, *framing, "", ""]).encode()


def asked(text: str) -> bytes:
    return json.dumps({"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}).encode()


def connect(gateway: GatewayProcess) -> socket.socket:
    address = urlsplit(gateway.base_url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=20)


def said(gateway: GatewayProcess, data: bytes) -> Answer:
    return send(gateway.base_url, [data])


def memory_mb(gateway: GatewayProcess) -> float:
    return float(psutil.Process(gateway.pid).memory_info().rss) / MEGABYTE


@pytest.mark.parametrize("path", sorted(API))
@pytest.mark.parametrize("length", [5, 31 * MEGABYTE, None])
def test_refuse_a_body_without_a_key_before_it_comes(gateway: GatewayProcess, path: str, length: int | None) -> None:
    answer = said(gateway, head(path, "expect: 100-continue", length=length))
    assert answer.status == 401
    assert fault_of(path, answer) is None, answer
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("lines", [["x-api-key: sk-wrong"], ["authorization: Bearer sk-wrong"], ["x-api-key: \x0b"]])
def test_refuse_a_body_with_a_wrong_key(gateway: GatewayProcess, lines: list[str]) -> None:
    assert said(gateway, head("/v1/messages", *lines)).status == 401


def test_refuse_a_body_with_an_expired_key(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    assert said(gateway, head("/v1/messages", key=keys["late"])).status == 401


def test_count_a_wrong_key_once_for_each_request(gateway: GatewayProcess) -> None:
    began = time.monotonic()
    wrong = head("/v1/messages", "x-forwarded-for: 203.0.113.7", "authorization: Bearer sk-b", key="sk-a", length=2)
    statuses = [said(gateway, wrong + b"{}").status for _ in range(55)]
    regained = (time.monotonic() - began) / 2
    assert statuses[:50] == [401] * 50
    assert statuses[50:].count(429) >= 5 - regained


def test_take_the_good_one_of_two_keys(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    for lines in (
        [f"x-api-key: {keys['ann']}", "authorization: Bearer sk-wrong"],
        ["x-api-key: sk-wrong", f"authorization: Bearer {keys['ann']}"],
    ):
        answer = said(gateway, head("/v1/messages", *lines, "connection: close", length=2) + b"[]")
        assert answer.status == 400, "read, and then found to be no object"


def test_show_a_refused_body_with_the_other_requests(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    answer = said(gateway, head("/v1/responses", "user-agent: shown/1.0"))
    path = f"{gateway.base_url}/debug/traces/{answer.headers['request-id']}"
    admin = {"x-api-key": keys["operator"]}
    eventually(lambda: httpx.get(path, headers=admin).is_success, within_s=10)
    trace = httpx.get(path, headers=admin).json()
    assert (trace["status"], trace["dialect"], trace["userAgent"]) == ("refused", "openai", "shown/1.0")


def test_let_a_script_read_the_refusal_of_its_body(gateway: GatewayProcess) -> None:
    allowed = said(gateway, head("/v1/messages", f"origin: {ORIGIN}"))
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in said(gateway, head("/v1/messages", "origin: https://else.org")).headers


def test_say_100_continue_after_the_key_check(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    body = json.dumps(
        {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": "[[n=1]]"}]}
    ).encode()
    with connect(gateway) as connection:
        connection.sendall(head("/v1/messages", "expect: 100-continue", key=keys["ann"], length=len(body)))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", sorted(KEYLESS))
@pytest.mark.parametrize(("length", "allowed"), [(MEGABYTE, True), (MEGABYTE + 1, False)])
def test_bound_a_body_where_no_key_is_asked(gateway: GatewayProcess, path: str, length: int, allowed: bool) -> None:
    answer = said(gateway, head(path, "connection: close", length=length) + b" " * (length if allowed else 0))
    assert (answer.status != 413) == allowed


def test_bound_chunks_where_no_key_is_asked(gateway: GatewayProcess) -> None:
    chunks = b"80000\r\n" + b" " * 0x80000 + b"\r\n80001\r\n"
    assert said(gateway, head("/healthz", length=None) + chunks).status == 413


def test_hold_no_body_of_clients_without_a_key(gateway: GatewayProcess) -> None:
    before = memory_mb(gateway)

    def push(_: int) -> None:
        with connect(gateway) as connection, contextlib.suppress(OSError):
            connection.sendall(head("/v1/messages") + b" " * (31 * MEGABYTE))

    with ThreadPoolExecutor(12) as threads:
        pushing = [threads.submit(push, number) for number in range(12)]
        highest = before
        while not all(it.done() for it in pushing):
            highest = max(highest, memory_mb(gateway))
    assert highest - before < 20, "394 MB before the key was looked at first"


def test_keep_the_memory_of_bodies_from_one_key(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """Connections of one key beyond its half of the memory are rejected, and another key is served."""
    before = memory_mb(gateway)
    with contextlib.ExitStack() as stack:
        waiting, refused = 0, 0
        for _ in range(50):
            connection = stack.enter_context(connect(gateway))
            connection.sendall(head("/v1/messages", "expect: 100-continue", key=keys["ann"], length=8 * MEGABYTE))
            said_first = connection.recv(1000)
            if said_first.startswith(b"HTTP/1.1 100"):
                waiting += 1
                connection.sendall(b" " * (8 * MEGABYTE - 1))
            else:
                assert said_first.startswith(b"HTTP/1.1 429")
                assert b"Retry-After: 2" in said_first
                refused += 1
        assert (waiting, refused) == (4, 46)
        assert memory_mb(gateway) - before < 4 * 8 * 1.5
        other = said(gateway, head("/v1/messages", "connection: close", key=keys["bob"], length=8) + b"  \n\n  []")
        assert other.status == 400, "read, and then found to be no object"
        too_much = said(gateway, head("/v1/messages", key=keys["bob"], length=20 * MEGABYTE))
        assert too_much.status == 529

    def takes_again() -> bool:
        last = head("/v1/messages", "connection: close", key=keys["ann"], length=2) + b"[]"
        return said(gateway, last).status == 400

    eventually(takes_again, within_s=10)


def test_leave_keys_their_memory_beside_bodies_without_one(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    """Connections from three addresses announce a body each, which costs them nothing."""
    with contextlib.ExitStack() as stack:
        for number in range(90):
            connection = stack.enter_context(connect(gateway))
            address = f"x-forwarded-for: 198.51.100.{number % 3}"
            connection.sendall(head("/nowhere", address, "expect: 100-continue", length=MEGABYTE))
            assert connection.recv(100)
        connection = stack.enter_context(connect(gateway))
        connection.sendall(head("/v1/messages", "expect: 100-continue", key=keys["ann"], length=31 * MEGABYTE))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")


def test_count_chunks_of_a_body_against_the_share(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    with connect(gateway) as first, connect(gateway) as second:
        first.sendall(head("/v1/messages", "expect: 100-continue", key=keys["ann"], length=28 * MEGABYTE))
        assert first.recv(100).startswith(b"HTTP/1.1 100")
        second.sendall(head("/v1/messages", key=keys["ann"], length=None))
        second.sendall(b"500000\r\n" + b" " * 0x500000)
        assert second.recv(100).startswith(b"HTTP/1.1 429")


def test_keep_one_copy_of_bodies_that_are_answered(
    gateway: GatewayProcess, stand_in: StandInProcess, keys: dict[str, str]
) -> None:
    """While their answers are open; `FREED_AT_ONCE` leaves the memory of the live copies alone to be measured."""
    size_mb = 10
    before = memory_mb(gateway)
    owners = [keys["ann"], keys["ann"], keys["bob"]]
    with contextlib.ExitStack() as stack:
        for key in owners:
            sent = mark()
            body = asked(f"{sent} [[silent]] " + "x" * size_mb * MEGABYTE)
            connection = stack.enter_context(connect(gateway))
            connection.sendall(head("/v1/messages", key=key, length=len(body)) + body)
            eventually(lambda sent=sent: stand_in.recorded(containing=sent), within_s=60)  # type: ignore[misc]
        most_mb = 1.5 * len(owners) * size_mb
        eventually(lambda: memory_mb(gateway) - before < most_mb, within_s=10, why="two copies of each are 60 MB")
        assert memory_mb(gateway) - before > 0.5 * len(owners) * size_mb, "bodies that are not measured at all"
