"""Address, proxy, certificates and credential of the upstream come from the operator's variables."""

import asyncio
from pathlib import Path

import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.core.proxies import proxy_for
from apiproxy.engines.base import Broken, Completed
from apiproxy.engines.http.upstream import credential_headers
from tests.support.authority import Authority
from tests.support.http_engine import http_engine, http_request, play_http
from tests.support.raw_upstream import END, START, STREAM_HEAD, Connection, raw_upstream


async def answer(connection: Connection) -> None:
    while True:
        await connection.request()
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(START + END, b"")


async def proxy(connection: Connection) -> None:
    """A proxy for TLS: CONNECT, then bytes in both directions."""
    head = await connection.head()
    host, _, port = head.split()[1].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        target.close()

    await asyncio.gather(pump(connection.reader, writer), pump(reader, connection.writer))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"])
async def test_accept_certificate_of_operators_authority(authority: Authority, name: str) -> None:
    async with (
        raw_upstream(answer, tls=authority.server()) as upstream,
        http_engine(upstream.base_url, {name: str(authority.file)}) as engine,
    ):
        played = await play_http(engine, http_request())

    assert isinstance(played.outcome, Completed)


@pytest.mark.asyncio
async def test_reject_certificate_of_unknown_authority(authority: Authority) -> None:
    async with raw_upstream(answer, tls=authority.server()) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request())

    assert isinstance(played.outcome, Broken)
    assert (played.outcome.error.kind, played.outcome.unsent) == (FailureKind.CONNECTION_LOST, True)
    assert "certificate" in played.outcome.error.message


@pytest.mark.asyncio
@pytest.mark.parametrize("given", [True, False])
async def test_send_client_certificate(authority: Authority, *, given: bool) -> None:
    certificate = {"CLAUDE_CODE_CLIENT_CERT": str(authority.issue("client"))} if given else {}
    env = {"NODE_EXTRA_CA_CERTS": str(authority.file), **certificate}
    async with (
        raw_upstream(answer, tls=authority.server(client_certificate=True)) as upstream,
        http_engine(upstream.base_url, env) as engine,
    ):
        played = await play_http(engine, http_request())

    assert isinstance(played.outcome, Completed if given else Broken)


@pytest.mark.asyncio
@pytest.mark.parametrize("bypass", ["", "127.0.0.1", "example.com,127.0.0.1", "*"])
async def test_use_proxy_for_tls(authority: Authority, bypass: str) -> None:
    async with raw_upstream(answer, tls=authority.server()) as upstream, raw_upstream(proxy) as between:
        env = {"HTTPS_PROXY": between.base_url, "NO_PROXY": bypass, "NODE_EXTRA_CA_CERTS": str(authority.file)}
        async with http_engine(upstream.base_url, env) as engine:
            played = await play_http(engine, http_request())

        assert isinstance(played.outcome, Completed)
        assert len(between.connections) == (0 if bypass else 1)
        assert not bypass or "sk-operator" not in "".join(it.heads[0] for it in between.connections)


@pytest.mark.asyncio
async def test_use_proxy_without_tls() -> None:
    async with (
        raw_upstream(answer) as between,
        http_engine("http://upstream.test:81", {"http_proxy": between.base_url}) as engine,
    ):
        played = await play_http(engine, http_request())

    assert isinstance(played.outcome, Completed)
    assert between.connections[0].heads[0].startswith("POST http://upstream.test:81/v1/messages ")


@pytest.mark.asyncio
async def test_report_rejection_by_proxy_as_unsent(authority: Authority) -> None:
    async def reject(connection: Connection) -> None:
        await connection.head()
        await connection.send(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

    async with (
        raw_upstream(reject) as between,
        http_engine("https://upstream.test", {"HTTPS_PROXY": between.base_url}) as engine,
    ):
        played = await play_http(engine, http_request())

    assert isinstance(played.outcome, Broken)
    assert played.outcome.unsent


@pytest.mark.asyncio
async def test_give_up_on_silent_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apiproxy.engines.http.upstream.CONNECT_TIMEOUT_S", 0.3)

    async def silent(connection: Connection) -> None:
        await connection.head()
        await connection.left()

    async with (
        raw_upstream(silent) as between,
        http_engine("https://upstream.test", {"HTTPS_PROXY": between.base_url}) as engine,
    ):
        played = await asyncio.wait_for(play_http(engine, http_request()), 5)

    assert isinstance(played.outcome, Broken)
    assert played.outcome.unsent


@pytest.mark.parametrize(
    ("url", "env", "proxy_url"),
    [
        ("https://a.test", {}, None),
        ("https://a.test", {"HTTP_PROXY": "http://p"}, None),
        ("https://a.test", {"HTTPS_PROXY": "http://p"}, "http://p"),
        ("https://a.test", {"https_proxy": "http://q", "HTTPS_PROXY": "http://p"}, "http://q"),
        ("https://a.test", {"HTTPS_PROXY": "http://p", "NO_PROXY": ".test"}, None),
        ("https://a.test", {"HTTPS_PROXY": "http://p", "no_proxy": "b.test, a.test:443"}, None),
        ("https://a.test", {"HTTPS_PROXY": "http://p", "no_proxy": "b.test"}, "http://p"),
    ],
)
def test_choose_proxy(url: str, env: dict[str, str], proxy_url: str | None) -> None:
    assert proxy_for(url, env) == proxy_url


def test_credential_wins_over_custom_headers() -> None:
    env = {"ANTHROPIC_CUSTOM_HEADERS": "X-Api-Key: other", "ANTHROPIC_API_KEY": "key"}

    assert credential_headers(env) == {"x-api-key": "key"}
