"""One CLI process for one run, and the task that owns it: its MCP sessions, its place in the file system, its socket.

Users of a worker never own it: the task opens and closes everything itself, as anyio requires.
"""

import asyncio
import logging
import time
import uuid
from enum import StrEnum
from typing import Any, cast

import psutil
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, CLIConnectionError

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.futures import retrieve
from apiproxy.core.mcp_status import McpStatuses
from apiproxy.engines.agents.offered import check_offer, listing_of, server_down
from apiproxy.engines.agents.place import Place, Places
from apiproxy.engines.agents.relay import RelaySocket
from apiproxy.engines.agents.transport import AgentTransport
from apiproxy.mcp.errors import McpError
from apiproxy.mcp.http_client import Resolve
from apiproxy.mcp.sdk_server import sdk_server
from apiproxy.mcp.session import McpSession
from apiproxy.mcp.tools import Offer

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 2.0
_CHECK_AFTER_S = 30.0
"""MCP servers of a worker that has waited for longer are asked again before its run."""
_WARM_UP = "warm-up"


class WorkerState(StrEnum):
    """Lifecycle states of a worker."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RETIRING = "retiring"
    GONE = "gone"


class AgentWorker:
    """A process of one agent version, for one run.

    resolve: addresses of MCP servers (`mcp.http_client`). statuses: receives the results of connecting to them.
    """

    def __init__(self, agent: AgentSpec, *, places: Places, resolve: Resolve, statuses: McpStatuses) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.agent = agent
        self.state = WorkerState.STARTING
        self.started_at = time.time()
        self.run_id: str | None = None
        self._places = places
        self._resolve = resolve
        self._statuses = statuses
        self._sessions: list[McpSession] = []
        self._place: Place | None = None
        self._transport: AgentTransport | None = None
        self._client: ClaudeSDKClient | None = None
        self._starting: asyncio.Timeout | None = None
        self._ready_at = 0.0
        self._exited = asyncio.Event()
        self._retiring = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(retrieve)  # the pool may have stopped waiting
        self._owner = asyncio.create_task(self._run(), name=f"agent worker {self.id}")

    @property
    def transport(self) -> AgentTransport:
        """Available once it is ready."""
        assert self._transport is not None
        return self._transport

    @property
    def socket(self) -> RelaySocket:
        """Available once it is ready."""
        assert self._place is not None
        return self._place.socket

    @property
    def pid(self) -> int:
        """Process id, of the jail if there is one; 0 before the start and after the end."""
        return self._transport.process.pid if self._transport is not None and self._transport.is_ready() else 0

    @property
    def alive(self) -> bool:
        """True if the process runs and its stdout is open."""
        return self._transport is not None and self._transport.is_ready() and not self._exited.is_set()

    @property
    def exceeded(self) -> str:
        """Limit for which its process was killed, in words; empty if it was not."""
        return "" if self._place is None else self._place.exceeded

    def rss_bytes(self) -> int:
        """Resident memory of the process, or of its whole jail; 0 once it has ended."""
        measured = None if self._place is None else self._place.memory_bytes
        try:
            return (measured or int(psutil.Process(self.pid).memory_info().rss)) if self.pid else 0
        except psutil.Error:
            return 0

    async def wait_ready(self) -> None:
        """Wait until the process can run. Raises ProxyError: MCP_SERVER_DOWN, WORKER_UNAVAILABLE, JAIL_UNAVAILABLE."""
        await asyncio.shield(self._ready)

    async def check_servers(self) -> None:
        """Raise ProxyError (MCP_SERVER_DOWN) if a required server no longer answers."""
        if time.monotonic() - self._ready_at < _CHECK_AFTER_S:
            return
        required = [session for session in self._sessions if session.server.required]
        for session, outcome in zip(
            required, await asyncio.gather(*(it.check() for it in required), return_exceptions=True), strict=True
        ):
            if isinstance(outcome, BaseException):
                raise server_down(session.server.name, outcome)

    def listing(self) -> list[dict[str, Any]]:
        """Blocks that list its tools, for clients."""
        return listing_of(self.transport.init, self.agent, self._offers())

    def kill(self) -> None:
        """End the process now, and with it everything in its jail."""
        if self._transport is not None:
            self._transport.kill()

    def retire(self) -> None:
        """End the worker; returns immediately."""
        if self.state is not WorkerState.GONE:
            self.state = WorkerState.RETIRING
        self._retiring.set()
        if self._starting is not None:
            self._starting.reschedule(0)
        self.kill()

    async def wait_gone(self) -> None:
        """Wait until the process has ended, its sessions and socket are closed, and its folder is removed."""
        await asyncio.shield(self._owner)

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S) as self._starting:
                await self._open()
            self._starting = None
            self._note_ready()
            await self._wait_for_end()
        except ProxyError as error:
            self._fail_start(error, reason=error.message)
        except Exception as error:  # the SDK raises a bare Exception for a rejected `initialize`
            message = f"The gateway could not start a worker for the agent {self.agent.slug}."
            self._fail_start(ProxyError(FailureKind.WORKER_UNAVAILABLE, message), reason=repr(error))
            logger.debug("agents.start_failed", exc_info=True)
        finally:
            self._starting = None
            await self._close()

    async def _open(self) -> None:
        await self._open_sessions()
        servers = {session.server.name: sdk_server(session) for session in self._sessions}
        self._place = place = await self._places.make(self.agent, self.id)
        self._transport = transport = AgentTransport(
            command=place.command, env=place.env, cwd=place.working_folder, on_exit=self._exited.set
        )
        options = ClaudeAgentOptions(mcp_servers=cast(Any, servers))
        self._client = ClaudeSDKClient(options, transport=transport)
        await self._client.connect()
        transport.initialized = True
        place.watch(transport.process.pid, self.agent)
        await self._warm_up(transport)

    async def _open_sessions(self) -> None:
        """Connect to the http and sse servers. Raises ProxyError if a required one is down."""
        remote = [server for server in self.agent.mcp_servers if server.transport != "stdio"]
        self._sessions = [McpSession(server, resolve=self._resolve) for server in remote]
        outcomes = await asyncio.gather(*(session.open() for session in self._sessions), return_exceptions=True)
        for session, outcome in zip(list(self._sessions), outcomes, strict=True):
            self._note_status(session, outcome)
        for session, outcome in zip(list(self._sessions), outcomes, strict=True):
            if not isinstance(outcome, BaseException):
                continue
            if session.server.required or not isinstance(outcome, McpError):
                raise server_down(session.server.name, outcome)
            logger.warning("agents.server_left_out", extra={"agent": self.agent.name, "server": session.server.name})
            self._sessions.remove(session)

    def _note_status(self, session: McpSession, outcome: object) -> None:
        name, transport = session.server.name, session.server.transport
        if not isinstance(outcome, BaseException):
            tools = tuple(tool.name for tool in session.offer.tools)
            self._statuses.connected(name, transport=transport, tools=tools)
        elif not isinstance(outcome, asyncio.CancelledError):
            error = str(outcome) if isinstance(outcome, McpError) else "It could not be connected."
            self._statuses.failed(name, transport=transport, error=error)

    async def _warm_up(self, transport: AgentTransport) -> None:
        """Send a message that asks the model nothing, check what the CLI offers now, and take the message back."""
        message_uuid = await transport.replay("user", _WARM_UP, model="", size_bytes=0)
        check_offer(transport.init, self.agent, self._offers())
        answer = await transport.control("rewind_conversation", target_message_uuid=message_uuid)
        if answer.get("rewound") is not True:
            raise CLIConnectionError("the worker cannot rewind its warm-up")

    def _offers(self) -> dict[str, Offer]:
        return {session.server.name: session.offer for session in self._sessions}

    def _note_ready(self) -> None:
        self.state = WorkerState.IDLE if self.state is WorkerState.STARTING else self.state
        self._ready_at = time.monotonic()
        if not self._ready.done():
            self._ready.set_result(None)

    def _fail_start(self, error: ProxyError, *, reason: str) -> None:
        if self._ready.done():
            return
        if not self._retiring.is_set():
            tail = "" if self._transport is None else self._transport.stderr_tail
            logger.error("agents.start_failed", extra={"agent": self.agent.name, "error": reason[:500], "stderr": tail})
        self._ready.set_exception(error)

    async def _wait_for_end(self) -> None:
        waits = [asyncio.ensure_future(self._retiring.wait()), asyncio.ensure_future(self._exited.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _close(self) -> None:
        self.state = WorkerState.RETIRING
        self.kill()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                if self._client is not None:
                    await self._client.disconnect()
        except TimeoutError:
            logger.warning("agents.close_timeout", extra={"worker": self.id})
        finally:
            await asyncio.gather(*(session.close() for session in self._sessions), return_exceptions=True)
            if self._place is not None:
                await self._place.remove()
            self.state = WorkerState.GONE
