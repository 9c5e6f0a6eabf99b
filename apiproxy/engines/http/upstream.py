"""Pooled HTTP client of one upstream: address, credential, proxy and certificates.

They come from the same variables as those of the CLI, so that both engines reach the upstream the same way.
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from yarl import URL

from apiproxy.core.custom_headers import VARIABLE, parse_custom_headers
from apiproxy.core.proxies import is_socks, proxy_for
from apiproxy.core.upstream_headers import VERSION_HEADER
from apiproxy.engines.http.payload import Piece, written

CONNECT_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 15.0
"""Shorter than an upstream keeps idle connections: a request on one that it has closed is lost."""
_DNS_TTL_S = 60
_READ_BYTES = 8 * 1024
"""At most read at once, of asyncio's 256 KB: a client that does not read costs this several times."""
_READ_BUFFER_BYTES = 4 * 1024
"""Reading pauses at twice this size until the client has taken the buffered data."""
_MAX_HEADER_BYTES = 64 * 1024
_MAX_STALE = 3
"""Closed connections tried for one request: after a restart of the upstream several in the pool may be."""
_OWN_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # of the library, not wanted
_ENCODINGS = "gzip, deflate, br, zstd"


class Upstream:
    """Connections to one upstream. Bound to one event loop; opened at the first request.

    env: variables of the operator for the CLI (`Credential.env`). max_connections: requests at once.
    """

    def __init__(self, base_url: str, env: Mapping[str, str], *, max_connections: int) -> None:
        self._base_url = base_url.rstrip("/")
        self._max_connections = max_connections
        self._proxy = proxy_for(self._base_url, env)
        self._ssl = ssl_context(env) if URL(self._base_url).scheme == "https" or self._proxy else None
        self._headers = {"accept-encoding": _ENCODINGS, "connection": "keep-alive", **credential_headers(env)}
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, path: str, *, headers: Mapping[str, str], pieces: Sequence[Piece], on_sent: Callable[[], None]
    ) -> aiohttp.ClientResponse:
        """Send a request and wait for the response's headers. The caller closes or releases the response.

        headers: lower-case; the operator's own and the credential take precedence. pieces: the body. on_sent: called
        when the first bytes of the request are on their way. Raises aiohttp.ClientError.
        """
        stale = 0
        while True:
            sending = _Sending(on_sent)
            try:
                response = await self._opened().post(
                    URL(self._base_url + path, encoded=True),
                    data=pieces[0] if len(pieces) == 1 else written(pieces),
                    headers={**headers, **self._headers},
                    proxy=None if is_socks(self._proxy) else self._proxy,
                    allow_redirects=False,
                    trace_request_ctx=sending,
                )
                _read_in_small_parts(response)
                return response
            except (ProxyError, ProxyConnectionError, ProxyTimeoutError) as error:  # of a SOCKS proxy
                raise SocksError(str(error)) from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                stale += 1
                if stale > _MAX_STALE or sending.sent or not sending.reused:  # else nothing of it has arrived
                    raise

    async def close(self) -> None:
        """Close all connections; later requests open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = self._connector()
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reused)
            trace.on_request_headers_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),  # cookies of one key's response must not go with another's request
                skip_auto_headers=_OWN_HEADERS,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=2 * CONNECT_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S
                ),  # connect: a proxy's answer too
                read_bufsize=_READ_BUFFER_BYTES,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                trace_configs=[trace],
            )
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        options: Any = {
            "limit": self._max_connections,
            "keepalive_timeout": _KEEP_ALIVE_S,
            "ttl_dns_cache": _DNS_TTL_S,
            "ssl": self._ssl or True,
        }
        if self._proxy is not None and is_socks(self._proxy):
            return ProxyConnector.from_url(self._proxy, rdns=True, **options)
        return aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), **options)


class SocksError(aiohttp.ClientConnectionError):
    """No connection through the SOCKS proxy; nothing was sent."""


def _read_in_small_parts(response: aiohttp.ClientResponse) -> None:
    transport = response.connection.transport if response.connection is not None else None
    if transport is not None and hasattr(transport, "max_size"):  # plain sockets; aiohttp has no setting for it
        transport.max_size = _READ_BYTES


@dataclass(slots=True)
class _Sending:
    """One attempt to send a request. reused: on a connection from the pool."""

    on_sent: Callable[[], None]
    reused: bool = False
    sent: bool = False


async def _note_reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.reused = True


async def _note_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    sending: _Sending = context.trace_request_ctx
    sending.sent = True
    sending.on_sent()


async def whole_body(response: aiohttp.ClientResponse, *, limit: int) -> bytes | None:
    """The whole body, None if it is larger."""
    parts, size = [], 0
    while data := await response.content.readany():
        parts.append(data)
        size += len(data)
        if size > limit:
            return None
    return b"".join(parts)


def credential_headers(env: Mapping[str, str]) -> dict[str, str]:
    """The operator's own headers and the credential, by lower-case name."""
    headers = {name.lower(): value for name, value in parse_custom_headers(env.get(VARIABLE, ""))}
    headers.pop(VERSION_HEADER, None)  # the client's is used
    if token := env.get("ANTHROPIC_AUTH_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    if key := env.get("ANTHROPIC_API_KEY"):
        headers["x-api-key"] = key
    return headers


def ssl_context(env: Mapping[str, str]) -> ssl.SSLContext:
    """TLS context with the operator's certificate authorities and client certificate.

    Raises OSError or ssl.SSLError.
    """
    context = ssl.create_default_context(cafile=env.get("SSL_CERT_FILE"))
    if extra := env.get("NODE_EXTRA_CA_CERTS"):
        context.load_verify_locations(extra)
    if certificate := env.get("CLAUDE_CODE_CLIENT_CERT"):
        phrase = env.get("CLAUDE_CODE_CLIENT_KEY_PASSPHRASE", "")
        # A function: without a password OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certificate, env.get("CLAUDE_CODE_CLIENT_KEY"), lambda: phrase)
    return context
