"""Session with one MCP server, for one agent run.

A task of its own opens and closes the session, as anyio requires. Calls may come from any task.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation, Tool

from apiproxy.core.agents import McpServerSpec
from apiproxy.core.futures import retrieve
from apiproxy.core.version import VERSION
from apiproxy.mcp.errors import McpError
from apiproxy.mcp.http_client import MAX_EVENT_BYTES, Resolve, checked_url, http_client
from apiproxy.mcp.results import bounded_result, error_result
from apiproxy.mcp.tools import MAX_TOOLS, Offer, offer_of

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 120.0
_CLOSE_TIMEOUT_S = 1.0
_MAX_CALLS = 16
"""At once; further ones wait."""
_MAX_PAGES = 20
_MAX_LISTED = 10 * MAX_TOOLS
_MAX_ERROR_CHARS = 2_000
_CLIENT = Implementation(name="claude-sdk-proxy", version=VERSION)


class McpSession:
    """Session with an http or sse server. resolve: see `http_client.Resolve`. Bound to one event loop."""

    def __init__(
        self,
        server: McpServerSpec,
        *,
        resolve: Resolve,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self.server = server
        self.offer = Offer(())
        """Its tools, as of the last `open`."""
        self._resolve = resolve
        self._connect_timeout_s = connect_timeout_s
        self._call_timeout_s = call_timeout_s
        self._client: Client | None = None
        self._owner: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._opening = asyncio.Lock()
        self._slots = asyncio.Semaphore(_MAX_CALLS)

    @property
    def alive(self) -> bool:
        """True while the session is open, as far as the gateway knows."""
        return self._client is not None

    async def open(self) -> None:
        """Connect and list the tools; a no-op while the session is open. Raises McpError."""
        async with self._opening:
            if self._client is not None:
                return
            if self._closing.is_set():
                raise McpError("The session is closed.")
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            ready.add_done_callback(retrieve)  # the caller may have left
            self._owner = asyncio.create_task(self._run(ready), name=f"mcp {self.server.name}")
            await ready

    async def check(self) -> None:
        """Raise McpError unless the server answers."""
        await self.open()
        assert self._client is not None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._client.list_tools()
        except Exception as error:  # noqa: BLE001 — raised again as the one that callers know
            raise self._error(error) from None

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool. Failures are results with `is_error`; opens the session again if it was lost."""
        try:
            async with asyncio.timeout(self._call_timeout_s), self._slots:
                await self.open()
                assert self._client is not None
                return bounded_result(await self._client.call_tool(tool, dict(arguments)))
        except TimeoutError:
            return error_result(f"The tool {tool} did not answer within {self._call_timeout_s:g} seconds.")
        except Exception as error:  # noqa: BLE001 — whatever a server does, the model gets it as a result
            return error_result(str(self._error(error)))

    async def close(self) -> None:
        """End the session, within two seconds."""
        self._closing.set()
        owner = self._owner
        if owner is None or owner.done():
            return
        await asyncio.wait((owner,), timeout=_CLOSE_TIMEOUT_S)
        if not owner.done():
            owner.cancel()
            await asyncio.wait((owner,), timeout=_CLOSE_TIMEOUT_S)

    async def _run(self, ready: asyncio.Future[None]) -> None:
        """Body of the owner task."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(self._connect_timeout_s):
                    client = await stack.enter_async_context(self._connected())
                    self.offer = offer_of(await _listed(client), allowed=self.server.allowed_tools)
                self._client = client
                if not ready.done():
                    ready.set_result(None)
                await self._closing.wait()
        except asyncio.CancelledError:
            if not ready.done():
                ready.set_exception(McpError("The session was closed."))
            raise
        except Exception as error:  # noqa: BLE001 — a text of the server's may be in it, which is not logged
            if not ready.done():
                ready.set_exception(self._error(error))
            else:
                logger.info("mcp.session_lost", extra={"server": self.server.name, "error": type(error).__name__})
        finally:
            self._client = None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        server, url = self.server, checked_url(self.server.url)
        async with contextlib.AsyncExitStack() as stack:
            if server.transport == "sse":
                transport = sse_client(url, httpx_client_factory=self._sse_http_client)
                client = Client(transport, mode="legacy", client_info=_CLIENT, cache=None)
            else:
                http = await stack.enter_async_context(self._http_client())
                transport = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES)
                client = Client(transport, client_info=_CLIENT, cache=None)
            yield await stack.enter_async_context(client)

    def _http_client(self) -> httpx2.AsyncClient:
        return http_client(resolve=self._resolve, headers=self.server.headers, timeout_s=self._connect_timeout_s)

    def _sse_http_client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        """As `mcp` calls it, with nothing that the client does not have itself."""
        return self._http_client()

    def _error(self, error: BaseException) -> McpError:
        name = self.server.name
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, McpError):
            return error
        if isinstance(error, TimeoutError):
            return McpError(f"The MCP server {name} did not answer within {self._connect_timeout_s:g} seconds.")
        if isinstance(error, MCPError):
            return McpError(error.message[:_MAX_ERROR_CHARS])
        return McpError(f"The MCP server {name} failed ({type(error).__name__}).")


async def _listed(client: Client) -> list[Tool]:
    """All tools of the server, page by page."""
    tools: list[Tool] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools[:_MAX_LISTED]
        cursor = page.next_cursor
        if cursor is None or len(tools) >= _MAX_LISTED:
            break
    return tools
