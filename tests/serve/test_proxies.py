"""A gateway in a shell or container whose variables name proxies."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.raw_upstream import Connection, RawUpstream, raw_upstream
from tests.support.socks import SocksProxy, socks_proxy
from tests.support.stand_in import StandInProcess
from tests.support.threaded import threaded

pytestmark = pytest.mark.long

UPSTREAM = "http://upstream.test:8181"
DEAD = "http://127.0.0.1:9"
SOCKS = "socks5://127.0.0.1:9"


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.fixture
def http_proxy(stand_in: StandInProcess) -> Iterator[RawUpstream]:
    """A proxy for plain HTTP that sends every request to the stand-in."""

    async def forward(connection: Connection) -> None:
        head = await connection.request()
        method, target, _ = head.split("\r\n", 1)[0].split()
        path = target.removeprefix(UPSTREAM)
        lines = [it for it in head.split("\r\n")[1:-2] if not it.lower().startswith(("connection", "proxy-"))]
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(stand_in.base_url))
        rest = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "connection: close", "", ""])
        try:
            writer.write(rest.encode("latin-1") + connection.bodies[-1])
            while data := await reader.read(65_536):
                await connection.send(data)
        finally:
            writer.close()

    with threaded(raw_upstream(forward)) as proxy:
        yield proxy


@pytest.fixture
def socks(stand_in: StandInProcess) -> Iterator[SocksProxy]:
    with threaded(socks_proxy({"upstream.test": port_of(stand_in.base_url)})) as proxy:
        yield proxy


def gateway(folder: Path, upstream: str | None, env: Mapping[str, str]) -> GatewayProcess:
    small = {"CLAUDE_PROXY_MAX_CONCURRENT": "1", "CLAUDE_PROXY_WARM_WORKERS": "1"}
    return GatewayProcess(folder, upstream=upstream, env={**small, **env})


def asks_both(process: GatewayProcess, said: str) -> None:
    """Sends a message and counts its tokens."""
    body = {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": said}]}
    with process.http() as client:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            answer = client.post(path, json=body)
            assert answer.status_code == 200, f"{path}: {answer.text}"


@pytest.mark.parametrize("engine", ["sdk", "http"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_reach_upstream_through_http_proxy(
    stand_in: StandInProcess, http_proxy: RawUpstream, tmp_path: Path, engine: str, name: str
) -> None:
    env = {"CLAUDE_PROXY_ENGINE": engine, name: http_proxy.base_url, "NO_PROXY": "localhost,127.0.0.1,.internal"}
    process = gateway(tmp_path, UPSTREAM, env).start()
    try:
        said = mark()
        asks_both(process, said)
        assert len(stand_in.recorded(containing=said)) == 2
        assert http_proxy.connections
    finally:
        process.stop()


def test_reach_upstream_through_socks(stand_in: StandInProcess, socks: SocksProxy, tmp_path: Path) -> None:
    env = {"CLAUDE_PROXY_ENGINE": "http", "ALL_PROXY": f"socks5://127.0.0.1:{socks.port}"}
    process = gateway(tmp_path, UPSTREAM, env).start()
    try:
        said = mark()
        asks_both(process, said)
        assert len(stand_in.recorded(containing=said)) == 2
        assert set(socks.asked) == {("upstream.test", 8181)}
    finally:
        process.stop()


def test_refuse_to_start_with_socks_and_sdk(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as failed:
        gateway(tmp_path, UPSTREAM, {"ALL_PROXY": SOCKS}).start()
    assert "CLAUDE_PROXY_ENGINE: 'sdk' is not allowed here: the sdk engine cannot use a SOCKS proxy" in str(
        failed.value
    )
    assert "Traceback" not in str(failed.value)


@pytest.mark.parametrize("engine", ["sdk", "http"])
@pytest.mark.parametrize("env", [{"HTTP_PROXY": DEAD, "http_proxy": DEAD}, {"ALL_PROXY": SOCKS}], ids=["http", "socks"])
def test_reach_upstream_on_this_machine_directly(
    stand_in: StandInProcess, tmp_path: Path, engine: str, env: Mapping[str, str]
) -> None:
    process = gateway(tmp_path, stand_in.base_url, {"CLAUDE_PROXY_ENGINE": engine, **env}).start()
    try:
        asks_both(process, mark())
    finally:
        process.stop()


@pytest.mark.parametrize("engine", ["sdk", "http"])
def test_run_the_demo_whatever_proxies_are_set(tmp_path: Path, engine: str) -> None:
    env = {"CLAUDE_PROXY_ENGINE": engine, "HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD, "ALL_PROXY": SOCKS}
    process = gateway(tmp_path, None, env).start()
    try:
        asks_both(process, mark())
    finally:
        process.stop()


def test_name_unusable_certificates_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as failed:
        gateway(tmp_path, "https://upstream.test", {"NODE_EXTRA_CA_CERTS": "/nowhere/ca.pem"}).start()
    assert "NODE_EXTRA_CA_CERTS: '/nowhere/ca.pem' cannot be read" in str(failed.value)


def test_say_where_a_proxy_is_missing(stand_in: StandInProcess, tmp_path: Path) -> None:
    """A dead proxy is a 502 at once, with either engine no hang."""
    process = gateway(tmp_path, UPSTREAM, {"CLAUDE_PROXY_ENGINE": "http", "HTTP_PROXY": DEAD}).start()
    try:
        body = {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        answer = httpx.post(
            f"{process.base_url}/v1/messages", json=body, headers={"x-api-key": process.api_key}, timeout=20
        )
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
        assert "connection" in answer.json()["error"]["message"]
    finally:
        process.stop()
