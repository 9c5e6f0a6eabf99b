"""`serve --processes 2`: connections are shared, a process that dies is replaced, and renewing them loses nothing."""

import asyncio
import contextlib
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from django.core.management.base import CommandError
from django.db.migrations.recorder import MigrationRecorder
from playwright.sync_api import expect

from apiproxy.management.commands.serve import refuse_pending_migrations
from tests.limits.gateways import make_keys
from tests.support.chromium import chromium
from tests.support.engine import body_of
from tests.support.gateway import GatewayProcess, sign_in
from tests.support.processes import is_alive
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually, eventually_async

CLIENTS = 8

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.long]


@pytest.fixture(scope="module")
def several(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Two processes on SQLite."""
    env = {"CLAUDE_PROXY_PROCESSES": "2", "CLAUDE_PROXY_WARM_WORKERS": "1", "CLAUDE_PROXY_MAX_CONCURRENT": "4"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("several"), upstream=stand_in.base_url, env=env).start()
    yield gateway
    assert gateway.stop() == 0


def connected(gateway: GatewayProcess) -> list[int]:
    """Number of clients by process."""
    port = urlsplit(gateway.base_url).port
    return [
        sum(it.status == psutil.CONN_ESTABLISHED and it.laddr.port == port for it in server.net_connections("tcp4"))
        for server in gateway.servers()
    ]


def test_clients_that_come_together_are_shared_by_the_processes(several: GatewayProcess) -> None:
    address = urlsplit(several.base_url)
    with contextlib.ExitStack() as open_ones:
        for _ in range(4 * CLIENTS):
            open_ones.enter_context(socket.create_connection((address.hostname, address.port)))
        eventually(lambda: sum(connected(several)) == 4 * CLIENTS, within_s=10)
        assert min(connected(several)) >= CLIENTS, connected(several)


@pytest.mark.django_db(transaction=True)
def test_refuse_start_when_code_is_newer_than_database() -> None:
    refuse_pending_migrations()
    last = MigrationRecorder.Migration.objects.filter(app="observability").latest("pk")
    last.delete()
    try:
        with pytest.raises(CommandError, match="lacks 1 migrations"):
            refuse_pending_migrations()
    finally:
        last.save(force_insert=True)


def test_show_and_cancel_across_processes_without_redis(several: GatewayProcess) -> None:
    key = make_keys(several, {f"operator {secrets.token_hex(4)}": {"scopes": ["api", "admin"]}}).popitem()[1]
    headers = {"x-api-key": key}

    def get(path: str) -> Any:  # each time on a connection of its own, so that either process answers
        return httpx.get(f"{several.base_url}{path}", headers=headers, timeout=30).raise_for_status().json()

    def answerers() -> set[int]:
        return {get("/debug/health")["pid"] for _ in range(4)}

    eventually(lambda: answerers() == {server.pid for server in several.servers()}, within_s=20)
    eventually(lambda: all(len(get("/debug/health")["processes"]) == 2 for _ in range(4)), within_s=20)
    running = Hanging(several, key)
    running.start()
    assert running.begun.wait(60)
    eventually(
        lambda: all([it["reqId"] for it in get("/debug/active")["activeRequests"]] == [running.id] for _ in range(6)),
        within_s=20,
    )
    for _ in range(6):  # by both processes: the one that has it ends it at once, the other one asks it to
        httpx.post(f"{several.base_url}/debug/active/{running.id}/cancel", headers=headers, timeout=30)
    running.join(20)
    assert not running.is_alive()
    eventually(lambda: get(f"/debug/traces/{running.id}").get("endReason") == "cancelled", within_s=10)


def test_show_row_per_process_on_workers_page(several: GatewayProcess) -> None:
    key = make_keys(several, {f"hanging {secrets.token_hex(4)}": {"scopes": ["api", "admin"]}}).popitem()[1]
    running = Hanging(several, key)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        expect.set_options(timeout=30_000)
        page.context.add_cookies([{"name": "sessionid", "value": sign_in(several), "url": several.base_url}])
        page.goto(f"{several.base_url}/dashboard/workers")
        rows = page.locator("#processes tbody tr")
        for server in several.servers():
            expect(rows.filter(has_text=f":{server.pid}")).to_have_count(1)
        expect(rows).to_have_count(2)  # those of an earlier test are not shown any more
        expect(page.locator("[data-slots]")).to_have_text("0 of 8")
        running.start()
        assert running.begun.wait(60)
        busy = rows.filter(has=page.get_by_text("1 of 4", exact=True))
        expect(busy).to_have_count(1)
        expect(rows.filter(has=page.get_by_text("0 of 4", exact=True))).to_have_count(1)
        expect(busy).to_contain_text("MB")
        expect(page.locator("[data-slots]")).to_have_text("1 of 8")
        page.locator("#workers tbody tr", has=page.locator("[data-state=busy]")).locator("a.d-id").click()
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("button", name="Cancel the request").click()
        running.join(30)
    assert not running.is_alive()


def test_replace_killed_process_without_metric_drops(
    several: GatewayProcess,
) -> None:
    key = make_keys(several, {f"watcher {secrets.token_hex(4)}": {"scopes": ["api", "admin"]}}).popitem()[1]

    def answered() -> int:
        text = httpx.get(f"{several.base_url}/metrics", headers={"x-api-key": key}, timeout=30).text
        lines = [line for line in text.splitlines() if line.startswith("claude_proxy_requests_total{")]
        return sum(int(float(line.rpartition(" ")[2])) for line in lines)

    before = answered()
    for _ in range(6):
        with several.http() as client:
            assert client.post("/v1/messages", json=body_of("[[n=1]]")).status_code == 200
    assert answered() == before + 6
    killed, other = several.servers()
    workers = killed.children()
    killed.kill()
    with several.http() as client:  # a connection that the killed process had not taken is taken by the other one
        assert client.post("/v1/messages", json=body_of("[[n=1]]")).status_code == 200
    assert answered() == before + 7
    eventually(lambda: len(several.servers()) == 2 and killed not in several.servers(), within_s=30)
    assert other in several.servers()
    assert not [worker for worker in workers if is_alive(worker.pid)]
    assert f"Process {killed.pid} ended with -9" in several.output
    eventually(lambda: min(connected_after(several)) > 0, within_s=30)
    for _ in range(4):
        assert answered() == before + 7


def connected_after(gateway: GatewayProcess) -> list[int]:
    """Number of new clients by process, once the new process is ready."""
    address = urlsplit(gateway.base_url)
    with contextlib.ExitStack() as open_ones:
        for _ in range(4):
            open_ones.enter_context(socket.create_connection((address.hostname, address.port)))
        with contextlib.suppress(AssertionError):
            eventually(lambda: sum(connected(gateway)) >= 4, within_s=1)
        return connected(gateway)


class Hanging(threading.Thread):
    """A streamed request that does not end by itself."""

    def __init__(self, gateway: GatewayProcess, key: str) -> None:
        super().__init__(daemon=True)
        self._gateway = gateway
        self._key = key
        self.begun = threading.Event()
        self.id = ""

    def run(self) -> None:
        body = body_of("[[n=2]] [[midhang=1]]", stream=True)
        url = f"{self._gateway.base_url}/v1/messages"
        with httpx.stream("POST", url, json=body, headers={"x-api-key": self._key}, timeout=60) as response:
            self.id = response.headers["request-id"]
            for _ in response.iter_text():
                self.begun.set()


class Client:
    """Sends one request after another on one connection, every other one streamed, until it is told to stop."""

    def __init__(self, gateway: GatewayProcess, number: int) -> None:
        self._gateway = gateway
        self._number = number
        self.answers = 0
        self.last_ones = 0
        self.stopped = False

    async def run(self) -> None:
        headers = {"x-api-key": self._gateway.api_key}
        async with httpx.AsyncClient(base_url=self._gateway.base_url, headers=headers, timeout=60) as http:
            while not self.stopped:
                stream = (self.answers + self._number) % 2 == 0
                body = body_of(f"[[n=5]] [[first=1.5]] {secrets.token_hex(4)}", stream=stream)
                response = await http.post("/v1/messages", json=body)
                assert response.status_code == 200, response.text
                assert not stream or "event: message_stop" in response.text
                self.answers += 1
                self.last_ones += response.headers.get("connection") == "close"


async def test_renewing_the_processes_under_load_loses_no_request(several: GatewayProcess) -> None:
    before = several.servers()
    clients = [Client(several, number) for number in range(CLIENTS)]
    address = urlsplit(several.base_url)
    idle_reader, idle_writer = await asyncio.open_connection(address.hostname, address.port)
    async with asyncio.TaskGroup() as running:
        for client in clients:
            running.create_task(client.run())
        await eventually_async(lambda: all(client.answers for client in clients), within_s=60)
        several.process.send_signal(signal.SIGHUP)
        await eventually_async(lambda: "All processes have been replaced." in several.output, within_s=90)
        for client in clients:
            client.stopped = True
    after = several.servers()

    assert len(after) == 2
    assert not {server.pid for server in before} & {server.pid for server in after}
    assert sum(client.last_ones for client in clients) >= CLIENTS  # each had a connection to one that left
    assert await idle_reader.read() == b""  # closed by the process that had it
    idle_writer.close()
    assert not [server for server in before if is_alive(server.pid)]
