"""Redis carries the state of the other processes: without it requests are answered and dashboards stay live."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from apiproxy.core.turns import EngineName
from tests.faults.support import Prepared, Watched, settings_of
from tests.support.forwarder import Forwarder
from tests.support.gateway import GatewayProcess
from tests.support.matrix import SAME, Expected
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

SERVER = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


@pytest.fixture(scope="module")
def road() -> Iterator[Forwarder]:
    """The way to a Redis, where there is one; CI must have one."""
    try:
        redis.from_url(SERVER, socket_connect_timeout=2).ping()
    except redis.RedisError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Redis server ({SERVER}): {error}")
    parts = urlsplit(SERVER)
    forwarder = Forwarder(parts.port or 6379, target_host=parts.hostname or "127.0.0.1")
    yield forwarder
    forwarder.stop()


@pytest.fixture(scope="module")
def watched(
    engine: EngineName,
    prepared: Prepared,
    stand_in: StandInProcess,
    road: Forwarder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    env = {**settings_of(engine), "REDIS_URL": f"redis://127.0.0.1:{road.port}/0"}
    process = prepared.put_into(
        GatewayProcess(tmp_path_factory.mktemp("redis"), upstream=stand_in.base_url, env=env)
    ).start()
    yield Watched(process, prepared.secrets)
    process.stop()


@pytest.fixture(scope="module")
def cookie(watched: Watched) -> str:
    """The login of the administrator that the first start has made."""
    login = watched.process.first_login()
    with httpx.Client(base_url=watched.process.base_url, timeout=20) as browser:
        browser.get("/admin/login/")
        form = {"username": login.name, "password": login.password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post("/admin/login/", data=form).status_code == 302
        return f"sessionid={browser.cookies['sessionid']}"


@contextmanager
def page(watched: Watched, cookie: str) -> Iterator[ClientConnection]:
    """An open dashboard that has had its snapshot."""
    base = watched.process.base_url
    address = f"ws{base.removeprefix('http')}/dashboard/live"
    with connect(address, origin=Origin(base), additional_headers={"Cookie": cookie}, open_timeout=10) as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "snapshot"
        yield socket


def hears_ticks(socket: ClientConnection, count: int = 2) -> bool:
    """True if that many messages follow, each within two and a half of the longest pauses between them."""
    return all(json.loads(socket.recv(timeout=5))["type"] == "tick" for _ in range(count))


def is_in_redis(watched: Watched) -> bool:
    """True if Redis holds the state of the gateway's process; it does for four seconds after each update."""
    health = watched.get("/debug/health")
    with redis.from_url(SERVER, socket_connect_timeout=2) as client:
        texts = [client.get(key) for key in client.scan_iter("claude-proxy:state:*")]
    states = [json.loads(text) for text in texts if text]
    return any((state["node"], state["pid"]) == (health["node"], health["pid"]) for state in states)


@pytest.mark.fault(
    "Redis",
    "is gone and comes back",
    plain="200",
    streamed="200",
    trace="completed",
    after="at rest; dashboards stay live",
    http=SAME,
)
def test_dashboards_stay_live_while_redis_is_unavailable(
    watched: Watched, road: Forwarder, cookie: str, expected: Expected
) -> None:
    eventually(lambda: is_in_redis(watched), within_s=20)
    with page(watched, cookie) as before:
        road.close()
        try:
            seen = [watched.ask("[[n=1]]", stream=stream) for stream in (False, True)]
            eventually(lambda: not is_in_redis(watched), within_s=20)
            with page(watched, cookie) as during:
                assert hears_ticks(during)
        finally:
            road.open()
        eventually(lambda: is_in_redis(watched), within_s=20)
        assert hears_ticks(before), "the page that was open all the time"
    assert [str(one) for one in seen] == [expected.plain, expected.streamed]
    assert {watched.trace(one.request_id) for one in seen} == {expected.trace}
    watched.comes_to_rest()
