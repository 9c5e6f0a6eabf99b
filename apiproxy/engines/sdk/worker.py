"""One warm CLI process and the task that owns it.

The owner task opens the SDK's client, waits for `retire` or the end of the process, and closes the client, all in one
task as anyio requires. Users of a worker never own it: Django may cancel a request task twice at any await, and a
second cancellation during the SDK's cleanup would leave the child running.
"""

import asyncio
import logging
import os
import time
import uuid
from enum import StrEnum

import psutil
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, CLIConnectionError

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.engines.sdk.launch import LaunchSpec, WorkerFolder
from apiproxy.engines.sdk.process import ControlError
from apiproxy.engines.sdk.transport import CliTransport
from apiproxy.engines.sdk.warmup import run_warmup_turn

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 5.0
_REWIND_TIMEOUT_S = 1.0


class WorkerState(StrEnum):
    """Lifecycle states of a worker."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RETIRING = "retiring"
    GONE = "gone"


class Worker:
    """A CLI process, used by the pool and by `WorkerAnswer` on the event loop's thread."""

    def __init__(self, *, spec: LaunchSpec, max_turns: int) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.state = WorkerState.STARTING
        self.turns = 0
        self.max_turns = max_turns
        self.retire_due = False
        self.started_at = time.time()
        self.run_id: str | None = None
        self.serving: str | None = None
        self.body_bytes = 0
        self.suspended_s = 0.0
        """Total time for which its start was suspended (`start_hold`)."""
        self._overlay_key: tuple[int | None] | None = None
        self.operator_headers = spec.custom_headers
        self._folder = WorkerFolder.create(spec.folders, self.id)
        self._exited = asyncio.Event()
        self._retiring = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport = CliTransport(
            command=spec.command(),
            env=spec.environment(self._folder, os.environ),
            cwd=self._folder.cwd,
            on_exit=self._exited.set,
        )
        self._owner = asyncio.create_task(self._run(), name=f"worker {self.id}")

    @property
    def pid(self) -> int:
        """Process id; 0 before the start and after the end."""
        return self.transport.process.pid if self.transport.is_ready() else 0

    @property
    def alive(self) -> bool:
        """True if the process runs and its stdout is open."""
        return self.transport.is_ready() and not self._exited.is_set()

    def switch_key(self, key_id: int | None) -> bool:
        """Record whose overlay is written next; True if another key's overlay is still set.

        That one must be replaced by the resting overlay first: a CLI that ignores an overlay and reports success would
        send the body before. (It did so for `program_use_case_id`, which is rejected now.)
        """
        before, self._overlay_key = self._overlay_key, (key_id,)
        return before is not None and before != (key_id,)

    def rss_bytes(self) -> int:
        """Resident memory of the process; 0 once it has ended."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid else 0
        except psutil.Error:
            return 0

    async def wait_ready(self) -> None:
        """Wait until the process responds; raises ProxyError(WORKER_UNAVAILABLE) otherwise."""
        await asyncio.shield(self._ready)

    async def rewind(self, message_uuid: str, *, timeout_s: float = _REWIND_TIMEOUT_S) -> bool:
        """Remove the last turn from the CLI's memory; on False the caller must retire the worker."""
        try:
            answer = await self.transport.control(
                "rewind_conversation", timeout_s=timeout_s, target_message_uuid=message_uuid
            )
        except (ControlError, TimeoutError, ConnectionError) as error:
            logger.warning("worker.rewind_failed", extra={"worker": self.id, "error": repr(error)})
            return False
        return answer.get("rewound") is True

    def retire(self) -> None:
        """Tell the owner task to close the process; returns immediately."""
        if self.state is not WorkerState.GONE:
            self.state = WorkerState.RETIRING
        self._retiring.set()

    async def wait_gone(self) -> None:
        """Wait until the process has ended and its folder is removed."""
        await asyncio.shield(self._owner)

    async def _run(self) -> None:
        client = ClaudeSDKClient(ClaudeAgentOptions(), transport=self.transport)
        try:
            await self._open(client)
            await self._wait_for_end()
        finally:
            await self._close(client)

    async def _open(self, client: ClaudeSDKClient) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await client.connect()
                warmup = await run_warmup_turn(self.transport, operator_headers=self.operator_headers)
                if not await self.rewind(warmup, timeout_s=START_TIMEOUT_S):
                    raise CLIConnectionError("the worker cannot rewind its warm-up turn")
        except (CLIConnectionError, OSError, TimeoutError) as error:
            self._fail_start(error)
        except Exception as error:  # the SDK raises a bare Exception for a rejected `initialize`
            logger.exception("worker.start_failed", extra={"worker": self.id})
            self._fail_start(error)
        else:
            self.transport.initialized = True
            self.state = WorkerState.IDLE
            if not self._ready.done():
                self._ready.set_result(None)

    def _fail_start(self, error: Exception) -> None:
        logger.error(
            "worker.start_failed",
            extra={"worker": self.id, "error": repr(error), "stderr": self.transport.stderr_tail},
        )
        self._retiring.set()
        if not self._ready.done():
            self._ready.set_exception(
                ProxyError(FailureKind.WORKER_UNAVAILABLE, "The gateway could not start a worker.")
            )
            self._ready.exception()  # the pool may have stopped waiting, and asyncio would warn

    async def _wait_for_end(self) -> None:
        waits = [asyncio.ensure_future(self._retiring.wait()), asyncio.ensure_future(self._exited.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _close(self, client: ClaudeSDKClient) -> None:
        self.state = WorkerState.RETIRING
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await client.disconnect()
        except TimeoutError:
            logger.warning("worker.close_timeout", extra={"worker": self.id})
        finally:
            self.transport.kill()
            self.state = WorkerState.GONE
            await asyncio.to_thread(self._folder.remove)
