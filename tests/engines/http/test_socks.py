"""The http engine reaches its upstream through a SOCKS proxy."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from apiproxy.engines.base import Broken, Completed
from tests.support.authority import Authority
from tests.support.http_engine import http_engine, http_request, play_http
from tests.support.raw_upstream import END, START, STREAM_HEAD, Connection, raw_upstream
from tests.support.socks import socks_proxy

pytestmark = pytest.mark.asyncio


async def answer(connection: Connection) -> None:
    while True:
        await connection.request()
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(START + END, b"")


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
@pytest.mark.parametrize("login", [None, ("ann", "s3cret")])
async def test_reach_upstream_through_socks(scheme: str, login: tuple[str, str] | None) -> None:
    async with raw_upstream(answer) as upstream, socks_proxy({"upstream.test": port_of(upstream.base_url)}) as proxy:
        proxy.login = login
        given = f"{':'.join(login)}@" if login else ""
        env = {"ALL_PROXY": f"{scheme}://{given}127.0.0.1:{proxy.port}"}
        async with http_engine("http://upstream.test:81", env) as engine:
            played = await play_http(engine, http_request())

    assert isinstance(played.outcome, Completed)
    assert proxy.asked == [("upstream.test", 81)], "the proxy resolves the name"


async def test_use_socks_for_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        raw_upstream(answer, tls=authority.server()) as upstream,
        socks_proxy({"upstream.test": port_of(upstream.base_url)}) as proxy,
    ):
        env = {"HTTPS_PROXY": f"socks5://127.0.0.1:{proxy.port}", "NODE_EXTRA_CA_CERTS": str(authority.file)}
        async with http_engine("https://upstream.test", env) as engine:
            played = [await play_http(engine, http_request()) for _ in range(2)]

    assert all(isinstance(it.outcome, Completed) for it in played)
    assert proxy.asked == [("upstream.test", 443)], "the connection is used again"


@pytest.mark.parametrize("wrong", ["refused", "login", "nothing there"])
async def test_report_unreachable_socks_as_unsent(wrong: str) -> None:
    async with socks_proxy({}, login=("ann", "x") if wrong == "login" else None) as proxy:
        port = 9 if wrong == "nothing there" else proxy.port
        async with http_engine("https://upstream.test", {"ALL_PROXY": f"socks5://127.0.0.1:{port}"}) as engine:
            played = await asyncio.wait_for(play_http(engine, http_request()), 10)

    assert isinstance(played.outcome, Broken)
    assert played.outcome.unsent
    assert "connection" in played.outcome.error.message


async def test_give_up_on_silent_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apiproxy.engines.http.upstream.CONNECT_TIMEOUT_S", 0.3)

    async def silent(connection: Connection) -> None:
        await connection.left()

    async with raw_upstream(silent) as between:
        env = {"ALL_PROXY": f"socks5://127.0.0.1:{port_of(between.base_url)}"}
        async with http_engine("https://upstream.test", env) as engine:
            played = await asyncio.wait_for(play_http(engine, http_request()), 10)

    assert isinstance(played.outcome, Broken)
    assert played.outcome.unsent
