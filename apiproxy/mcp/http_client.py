"""HTTP client for one MCP server: checks the address of each request, bounds responses, follows no redirect.

`mcp` ends a whole session when a request fails; so failures of the connection become responses with a JSON-RPC error.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import httpx2
import orjson

from apiproxy.core.addresses import AddressError, target_of
from apiproxy.mcp.errors import McpError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Allowed addresses of a host and port; raises AddressError. See `core.addresses.checked_addresses`."""

MAX_EVENT_BYTES = 8 * 1024 * 1024
_MAX_STREAM_BYTES = 64 * 1024 * 1024
"""Of one event stream, which may last as long as a session."""
_MAX_CONNECTIONS = 32
_BAD_GATEWAY = 502
_INTERNAL_ERROR = -32603
_REFUSALS = frozenset({401, 403, 407, 429, *range(500, 600)})
"""Statuses of which `mcp` would not say which one it was."""


def http_client(*, resolve: Resolve, headers: Mapping[str, str], timeout_s: float) -> httpx2.AsyncClient:
    """Client for one session. timeout_s: for everything but the wait for a part of a response."""
    sent = httpx2.Headers(dict(headers))
    sent["accept-encoding"] = "identity"  # a small compressed response can be a large one
    return httpx2.AsyncClient(
        transport=_CheckedTransport(resolve),
        headers=sent,
        timeout=httpx2.Timeout(timeout_s, read=None),  # calls have their own deadlines
        follow_redirects=False,
        max_redirects=0,
        trust_env=False,  # a proxy would look the name up again
    )


class _CheckedTransport(httpx2.AsyncBaseTransport):
    """Connects to the checked addresses themselves: a second look-up could give others."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        limits = httpx2.Limits(max_connections=_MAX_CONNECTIONS)
        self._transport = httpx2.AsyncHTTPTransport(trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        target = target_of(str(request.url))
        try:
            if target is None:
                raise AddressError("the address is not valid")
            addresses = await self._resolve(*target)
            response = await self._send(request, addresses)
        except (AddressError, httpx2.TransportError) as error:
            return _failed(request, f"The MCP server cannot be reached: {str(error) or type(error).__name__}")
        if (problem := _problem(response)) is not None:
            await response.aclose()
            return _failed(request, problem)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        streams = _content_type(response).startswith("text/event-stream")
        response.stream = _BoundedStream(response.stream, _MAX_STREAM_BYTES if streams else MAX_EVENT_BYTES)
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _send(self, request: httpx2.Request, addresses: Sequence[str]) -> httpx2.Response:
        """Send to the first address that accepts a connection."""
        *others, last = addresses
        for address in others:
            try:
                return await self._transport.handle_async_request(_at(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._transport.handle_async_request(_at(request, last))


class _BoundedStream(httpx2.AsyncByteStream):
    """A response's bytes. All failures are StreamErrors, which `mcp` reports for the one request only."""

    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._stream:
                size += len(chunk)
                if size > self._max_bytes:
                    raise httpx2.StreamError(f"the response is larger than {self._max_bytes} bytes")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the connection was lost: {error}") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def checked_url(url: str) -> str:
    """The URL, if it can be used; raises McpError."""
    if target_of(url) is None:
        raise McpError("The address of the MCP server is not a valid http or https URL.")
    return url


def _at(request: httpx2.Request, address: str) -> httpx2.Request:
    """The request to that address, for the same host."""
    host = request.url.host
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


def _problem(response: httpx2.Response) -> str | None:
    """Why a response cannot be used, where `mcp` would not say it."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return "The MCP server answered with compressed content."
    if response.status_code in _REFUSALS and not _content_type(response).startswith("application/json"):
        return f"The MCP server answered with status {response.status_code}."
    return None


def _content_type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").lower()


def _failed(request: httpx2.Request, message: str) -> httpx2.Response:
    """A response that `mcp` takes for the server's own error."""
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": _INTERNAL_ERROR, "message": message}})
    headers = {"content-type": "application/json"}
    return httpx2.Response(_BAD_GATEWAY, headers=headers, content=body, request=request)
