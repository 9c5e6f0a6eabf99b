"""MCP server of the demo: a small handbook on loopback, for the agent `demo-agent`."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from apiproxy.server.demo_agent import store_demo_agent
from apiproxy.standin.server import StandInServer, listen, serve

logger = logging.getLogger(__name__)

SERVER_NAME = "handbook"
_STOP_TIMEOUT_S = 5.0
_PAGES = {
    "refunds": "Refunds are paid within five days. Orders older than a year cannot be refunded.",
    "shipping": "Parcels leave on the day of the order if it arrives before noon.",
    "support": "Support answers on weekdays. Urgent cases go to the duty phone.",
}


class DemoHandbook:
    """A `core.lifecycle.BackgroundService`. It listens at once, so that its address is known before it starts."""

    def __init__(self) -> None:
        self._listener = listen()
        self._server: StandInServer | None = None
        self._sessions: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        host, port = self._listener.getsockname()
        self.address = f"{host}:{port}"
        self.url = f"http://{self.address}/mcp"

    async def start(self) -> None:
        application, run_sessions = await asyncio.to_thread(_application)
        running = asyncio.Event()
        self._sessions = asyncio.create_task(self._hold(run_sessions, running), name="demo handbook")
        await running.wait()
        self._server = await serve(application, self._listener)
        try:
            await sync_to_async(store_demo_agent)(self.url)
        except DatabaseError:
            logger.warning("demo.agent_not_stored", exc_info=True)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()
        self._listener.close()
        self._stopping.set()
        if self._sessions is not None:
            await asyncio.wait((self._sessions,), timeout=_STOP_TIMEOUT_S)
            self._sessions.cancel()

    async def _hold(
        self, run_sessions: Callable[[], contextlib.AbstractAsyncContextManager[None]], running: asyncio.Event
    ) -> None:
        """Enter and leave the sessions' task group in one task."""
        async with run_sessions():
            running.set()
            await self._stopping.wait()


def read_page(name: str) -> str:
    """Text of a page. Raises ValueError for an unknown name."""
    if name not in _PAGES:
        raise ValueError(f"There is no page {name!r}. Pages: {', '.join(_PAGES)}")
    return _PAGES[name]


def list_pages() -> list[str]:
    """Names of all pages."""
    return list(_PAGES)


def _application() -> tuple[Callable[..., Awaitable[None]], Callable[[], contextlib.AbstractAsyncContextManager[None]]]:
    """ASGI application of the server, and the context that its sessions need.

    Imported here: only a demo needs the package, which takes a second.
    """
    from mcp.server import MCPServer  # noqa: PLC0415
    from mcp.types import ToolAnnotations  # noqa: PLC0415

    server: Any = MCPServer(SERVER_NAME, log_level="WARNING")
    read_only = ToolAnnotations(read_only_hint=True)
    server.tool(description="Names of the pages of the handbook.", annotations=read_only)(list_pages)
    server.tool(description="Text of a page of the handbook.", annotations=read_only)(read_page)
    application = server.streamable_http_app(stateless_http=True, json_response=True)
    return application, server.session_manager.run
