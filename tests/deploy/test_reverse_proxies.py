"""Clients, browsers and records see no difference behind the reverse proxies of deploy/.

One of the two gateways that they know is down all the time.
"""

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.deploy.conftest import BEHIND_A_PROXY, SHARED_KEY
from tests.deploy.fronts import CLIENT_IP, HOST, Front, Starter, caddy, find, nginx, running
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

FORGED = {
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "elsewhere.example.org",
    "x-real-ip": "203.0.113.9",
    "forwarded": "for=203.0.113.9;proto=http",
}
_MEGABYTE = 1024 * 1024


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **fields}


def port_of(gateway: GatewayProcess) -> int:
    return int(gateway.base_url.rsplit(":", 1)[1])


def key_of(gateway: GatewayProcess) -> dict[str, str]:
    return {"x-api-key": gateway.api_key}


def test_pass_events_through_and_end_call_on_disconnect(
    front: Front, behind: GatewayProcess, stand_in: StandInProcess
) -> None:
    marker = secrets.token_hex(8)
    body = asked(f"{marker} [[n=9]] [[midhang=2]]", stream=True)
    with front.client(**key_of(behind)) as client, client.stream("POST", "/v1/messages", json=body) as response:
        assert response.status_code == 200
        lines = response.iter_lines()  # held, since the end of a loop that owns it ends the connection
        assert next((line for line in lines if "tok1" in line), None)
        # The upstream says nothing more: what was read was not held back until the end.
        assert stand_in.only(marker).ended_at is None
    stand_in.ended(marker, within_s=10)


def test_pass_request_of_20_mb(front: Front, behind: GatewayProcess) -> None:
    text = "[[say=all of it]]" + " word" * (4 * _MEGABYTE)
    with front.client(**key_of(behind)) as client:
        response = client.post("/v1/messages", json=asked(text))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["content"][0]["text"] == "all of it"
    assert answer["usage"]["input_tokens"] > _MEGABYTE


def test_reject_too_large_request_in_shape_of_the_api(front: Front, behind: GatewayProcess) -> None:
    for size in (32 * _MEGABYTE + 1, 36 * _MEGABYTE):
        with front.client(**key_of(behind)) as client:
            response = client.post("/v1/messages", content=b" " * size)
        assert response.status_code == 413
        assert response.json()["error"]["type"] == "request_too_large"


def test_record_real_client_address(front: Front, behind: GatewayProcess, administrator: tuple[str, str]) -> None:
    with front.client(**key_of(behind)) as client:
        forged = client.post("/v1/messages", json=asked("[[say=yes]]"), headers=FORGED)
    assert forged.status_code == 200
    with front.client() as browser:
        log_in(browser, front, administrator)
        path = f"/debug/traces/{forged.headers['request-id']}"
        eventually(lambda: browser.get(path).is_success, within_s=10)
        assert browser.get(path).json()["clientIp"] == CLIENT_IP


def test_open_dashboard_socket_for_login_over_https(front: Front, administrator: tuple[str, str]) -> None:
    with front.client(**FORGED) as browser:
        log_in(browser, front, administrator)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with connect(
        f"wss://{HOST}:{front.port}/dashboard/live",
        ssl=front.trusted, origin=Origin(front.url), additional_headers={"Cookie": cookies},
    ) as socket:  # fmt: skip
        assert json.loads(socket.recv(timeout=20))["type"] == "snapshot"


def log_in(browser: httpx.Client, front: Front, administrator: tuple[str, str]) -> None:
    """Logs in like a browser: the form's token, an Origin, and cookies that are sent over HTTPS only."""
    form = browser.get("/admin/login/")
    assert "Secure" in form.headers["set-cookie"]
    name, password = administrator
    fields = {"username": name, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    answer = browser.post("/admin/login/", data=fields, headers={"origin": front.url, "referer": f"{front.url}/admin/"})
    assert answer.status_code == 302, answer.text


def test_connections_to_the_gateway_are_kept(front: Front, behind: GatewayProcess) -> None:
    def kept() -> set[int]:
        family = [psutil.Process(front.pid), *psutil.Process(front.pid).children()]
        sockets = [it for process in family for it in process.net_connections("tcp")]
        live = [it for it in sockets if it.status == psutil.CONN_ESTABLISHED]
        return {it.laddr.port for it in live if it.raddr.port == port_of(behind)}

    with front.client(**key_of(behind)) as client:
        client.get("/v1/models").raise_for_status()
        before = kept()
        for _ in range(5):
            client.get("/v1/models").raise_for_status()
    assert before & kept()


@pytest.fixture
def victim(stand_in: StandInProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with the key of `behind` that the test may end as it likes."""
    find("nginx")
    env = {**BEHIND_A_PROXY, "CLAUDE_PROXY_WARM_WORKERS": "0", "CLAUDE_PROXY_API_KEY": SHARED_KEY}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    yield gateway
    gateway.process.kill()
    gateway.stop()


@pytest.mark.parametrize("starter", [nginx, caddy])
@pytest.mark.parametrize("stream", [False, True])
def test_ask_once_for_a_turn_whose_gateway_dies(
    behind: GatewayProcess,
    victim: GatewayProcess,
    stand_in: StandInProcess,
    tmp_path: Path,
    starter: Starter,
    stream: bool,
) -> None:
    find(starter.__name__)
    marker = secrets.token_hex(8)
    with (
        running(starter, tmp_path, [port_of(victim), port_of(behind)]) as front,
        front.client(**key_of(behind)) as client,
        ThreadPoolExecutor() as threads,
    ):
        eventually(lambda: client.get("/v1/models").is_success, within_s=20)
        body = asked(f"{marker} [[first=8]] [[say=late]]", stream=stream)
        # The gateway with fewer requests gets the next: each has one.
        waiting = [threads.submit(client.post, "/v1/messages", json=body)]
        eventually(lambda: len(stand_in.recorded(containing=marker)) == 1, within_s=20)
        waiting.append(threads.submit(client.post, "/v1/messages", json=body))
        eventually(lambda: len(stand_in.recorded(containing=marker)) == 2, within_s=20)
        victim.process.kill()
        statuses = sorted(it.result().status_code for it in waiting)
        assert statuses == [200, 502]
        assert len(stand_in.recorded(containing=marker)) == 2
        # A connection that fails is no request that was passed on.
        assert [client.post("/v1/messages", json=asked("[[say=now]]")).status_code for _ in range(4)] == [200] * 4


def test_pass_requests_to_another_node_while_one_drains(
    behind: GatewayProcess, victim: GatewayProcess, stand_in: StandInProcess, tmp_path: Path
) -> None:
    marker = secrets.token_hex(8)
    with (
        running(nginx, tmp_path, [port_of(victim), port_of(behind)]) as front,
        front.client(**key_of(behind)) as client,
        ThreadPoolExecutor() as threads,
    ):
        # The first request goes to the first node; its upstream says nothing to it, and answers the next that asks.
        prompt = f"[[flaky={marker}:1:silent]] [[say=late]]"
        waiting = threads.submit(client.post, "/v1/messages", json=asked(prompt))
        eventually(lambda: stand_in.recorded(containing=marker), within_s=20)
        victim.process.terminate()
        eventually(lambda: httpx.get(f"{victim.base_url}/readyz").status_code == 503)
        meanwhile = [client.post("/v1/messages", json=asked("[[say=now]]")).status_code for _ in range(4)]
        victim.process.kill()
        late = waiting.result()
    assert meanwhile == [200] * 4
    assert late.status_code == 502, late.text
    assert late.json()["error"]["type"] == "api_error"
    assert len(stand_in.recorded(containing=marker)) == 1
