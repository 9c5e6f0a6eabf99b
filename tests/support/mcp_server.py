"""A real MCP server with tools of all sorts, over http and sse."""

import asyncio
import base64
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import ToolAnnotations

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class McpTestServer:
    """url, sse_url: where it listens. calls: number of calls begun, by tool. headers: of the last request."""

    url: str
    sse_url: str
    calls: Counter[str] = field(default_factory=Counter)
    cancelled: Counter[str] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)
    running: int = 0
    most_running: int = 0
    sessions: int = 0
    """Requests in progress, event streams included."""


class _Recorder:
    """Notes the headers and counts the requests in progress."""

    def __init__(self, app: Any, seen: McpTestServer) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._seen.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self._seen.sessions += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._seen.sessions -= 1


def mcp_tools(seen: McpTestServer) -> MCPServer:
    server = MCPServer("lab")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def lookup(n: int) -> int:
        """Looks a number up."""
        seen.calls["lookup"] += 1
        return n * 2

    @server.tool()
    def pic() -> Image:
        """A picture."""
        seen.calls["pic"] += 1
        return Image(data=PNG, format="png")

    @server.tool()
    def bad() -> str:
        """Fails."""
        seen.calls["bad"] += 1
        raise ValueError("no such row")

    @server.tool(structured_output=False)
    def big(characters: int) -> str:
        """A long text."""
        seen.calls["big"] += 1
        return "x" * characters

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def slow(seconds: float) -> str:
        """Takes its time."""
        seen.calls["slow"] += 1
        seen.running += 1
        seen.most_running = max(seen.most_running, seen.running)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            seen.cancelled["slow"] += 1
            raise
        finally:
            seen.running -= 1
        return "at last"

    @server.tool()
    def add_tool(name: str, context: Context) -> str:
        """Adds a tool, which is offered to later sessions only."""
        server.add_tool(lookup, name=name)
        return name

    return server


@contextlib.asynccontextmanager
async def mcp_server(*, json_response: bool = False, stateless: bool = False) -> AsyncIterator[McpTestServer]:
    """Serve on a port of the system's choice."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        seen = McpTestServer(f"http://127.0.0.1:{port}/mcp", f"http://127.0.0.1:{port}/sse")
        tools = mcp_tools(seen)
        app = tools.streamable_http_app(json_response=json_response, stateless_http=stateless)
        app.router.routes.extend(tools.sse_app().routes)
        config = uvicorn.Config(
            _Recorder(app, seen),
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=0,
            lifespan="on",
            ws="none",
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        try:
            yield seen
        finally:
            server.should_exit = server.force_exit = True
            await serving
