"""A CLI process as a transport of the SDK: spawn, NDJSON framing and control requests.

The SDK's client runs its control protocol over it and keeps the process alive. What the CLI says besides is for the
subclass.
"""

import asyncio
import contextlib
import json
import os
import signal
import uuid
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
from claude_agent_sdk import CLIConnectionError, Transport

from apiproxy.engines.sdk.message_buffer import Message
from apiproxy.engines.sdk.pipes import READ_BYTES, Lines, open_reader, read_lines
from apiproxy.engines.sdk.priority import lower_priority

CONTROL_TIMEOUT_S = 5.0
CONTROL_TYPES = frozenset({"control_request", "control_response", "control_cancel_request"})
_CLOSE_TIMEOUT_S = 1.0
_WRITE_BYTES = 256 * 1024
_STDERR_LINES = 50


class ControlError(Exception):
    """The CLI rejected one of the gateway's control requests."""


class CliProcess(Transport):
    """SDK transport over a CLI process. on_exit: called once, when stdout closes."""

    def __init__(self, *, command: list[str], env: dict[str, str], cwd: Path, on_exit: Callable[[], None]) -> None:
        self._command = command
        self._env = env
        self._cwd = cwd
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._stderr_task: asyncio.Task[None] | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._write_lock = asyncio.Lock()
        self.initialized = False

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The child process; available only after `connect`."""
        assert self._process is not None
        return self._process

    @property
    def stderr_tail(self) -> str:
        """Last stderr lines of the current turn only: earlier ones may quote another key's prompt."""
        return "\n".join(self._stderr)

    async def connect(self) -> None:
        """Start the process in its own session, so that Ctrl-C does not end it before the drain."""
        read_end, write_end = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=write_end,
                env=self._env,
                cwd=self._cwd,
                limit=READ_BYTES,
                start_new_session=True,
            )
        except BaseException:  # including cancellation: nobody else would close the pipe
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        lower_priority(self._process.pid)
        self._stderr_task = asyncio.create_task(self._read_stderr(read_end))

    async def write(self, data: str) -> None:
        """Write data from the SDK; waits while the pipe is full."""
        await self.write_bytes(data.encode())

    async def write_bytes(self, *pieces: bytes) -> None:
        """Write whole lines, in pieces of any size; raises ConnectionError when the process has ended.

        In small parts, because asyncio copies all data that the pipe has no room for, on the event loop.
        """
        stdin = self.process.stdin
        assert stdin is not None
        async with self._write_lock:
            for piece in pieces:
                for start in range(0, len(piece), _WRITE_BYTES):
                    if stdin.is_closing():
                        raise ConnectionResetError("the worker's stdin is closed")
                    stdin.write(memoryview(piece)[start : start + _WRITE_BYTES])
                    await stdin.drain()

    def expect(self, control_id: str) -> asyncio.Future[dict[str, Any]]:
        """Return a future for the reply to a control request that the caller writes itself."""
        answer = asyncio.get_running_loop().create_future()
        self._replies[control_id] = answer
        return answer

    async def control(self, subtype: str, *, timeout_s: float = CONTROL_TIMEOUT_S, **fields: object) -> dict[str, Any]:
        """Send a control request and return its reply; raises ControlError, TimeoutError or ConnectionError."""
        control_id = new_control_id()
        answer = self.expect(control_id)
        request = {"type": "control_request", "request_id": control_id, "request": {"subtype": subtype, **fields}}
        try:
            async with asyncio.timeout(timeout_s):
                await self.write_bytes(orjson.dumps(request) + b"\n")
                return await answer
        finally:
            self._replies.pop(control_id, None)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Read until stdout closes: yield control messages to the SDK, route all others."""
        stdout = self.process.stdout
        assert stdout is not None
        try:
            async for lines in read_lines(stdout):
                for message in await self._route(lines):
                    yield message
        finally:
            self._on_stdout_end()
        if not self.initialized:  # else the SDK waits a minute for the reply to `initialize`
            raise CLIConnectionError("the worker ended before it was ready")

    async def close(self) -> None:
        """End the process: close stdin, then SIGKILL after `_CLOSE_TIMEOUT_S`."""
        if self._process is None:
            return
        await self.end_input()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        finally:
            self.kill()
            # Closes stdout, too, if its reader has stopped before the end.
            self._process._transport.close()  # type: ignore[attr-defined] # asyncio's, which has no public name for it
            if self._stderr_task is not None:
                self._stderr_task.cancel()

    def kill(self) -> None:
        """Send SIGKILL; a no-op once the process has ended."""
        self._send_signal(signal.SIGKILL)

    def is_ready(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def end_input(self) -> None:
        """Close stdin, which makes the CLI exit."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    @abstractmethod
    async def _route(self, lines: list[bytes]) -> list[Message]:
        """Handle what the CLI has said; returns the messages that are for the SDK."""

    def _on_stdout_end(self) -> None:
        for answer in self._replies.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the worker ended"))
                answer.exception()  # the caller may have stopped waiting, and asyncio would warn
        self._replies.clear()
        self._on_exit()

    async def _read_stderr(self, read_end: int) -> None:
        stderr, transport = await open_reader(read_end)
        lines = Lines()
        try:
            while chunk := await stderr.read(READ_BYTES):
                self._stderr += lines.feed(chunk)
        finally:
            transport.close()

    def _parse(self, line: bytes) -> Message | None:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            try:
                message = json.loads(line)  # accepts lone surrogates, which orjson rejects
            except ValueError:
                self._stderr.append("stdout: " + line[:500].decode(errors="replace"))
                return None
        return message if isinstance(message, dict) else None

    def _resolve_reply(self, message: Message) -> bool:
        """Resolve the future of a control reply; False if it is not one of the gateway's own."""
        response = message.get("response")
        if not isinstance(response, dict):
            return False
        answer = self._replies.pop(str(response.get("request_id")), None)
        if answer is None:
            return False
        if not answer.done():
            if response.get("subtype") == "success":
                answer.set_result(response.get("response") or {})
            else:
                answer.set_exception(ControlError(str(response.get("error"))))
        return True

    def _send_signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def new_control_id() -> str:
    """An id that cannot collide with the SDK's own control requests."""
    return "gateway_" + uuid.uuid4().hex
