"""Transport of one CLI process that answers turns: routing of its messages.

The messages of a turn bypass the SDK: they go to the turn's buffer in batches, one per read. Through the SDK's queue
and message types an event costs 29 µs, this way 3 µs (docs/decisions/0002-data-path.md).
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from apiproxy.core.errors import ProxyError
from apiproxy.engines.sdk.errors import error_in, error_of_retry, is_retried_by_cli, without_redactions
from apiproxy.engines.sdk.message_buffer import Message, MessageBuffer
from apiproxy.engines.sdk.pipes import READ_BYTES, Lines, StderrBackpressure, open_reader
from apiproxy.engines.sdk.process import CONTROL_TYPES, CliProcess

logger = logging.getLogger(__name__)

_TURN_TYPES = frozenset({"stream_event", "assistant", "result"})


class CliTransport(CliProcess):
    """CLI process of the single-turn engine. on_exit: called once, when stdout closes."""

    def __init__(self, *, command: list[str], env: dict[str, str], cwd: Path, on_exit: Callable[[], None]) -> None:
        super().__init__(command=command, env=env, cwd=cwd, on_exit=on_exit)
        self._brake: StderrBackpressure | None = None
        self._buffer: MessageBuffer | None = None
        self._on_sent: Callable[[], None] = _noop
        self.upstream_error: ProxyError | None = None
        self.upstream_error_seen = asyncio.Event()
        self.final_error: ProxyError | None = None
        """Reason for killing the process in the middle of a turn: it would have sent a second upstream request."""

    def start_turn(self, message_buffer: MessageBuffer, *, on_sent: Callable[[], None]) -> None:
        """Route the turn's messages to the buffer. on_sent: called when the CLI has sent its request."""
        self._on_sent = on_sent
        self.upstream_error = self.final_error = None
        self.upstream_error_seen.clear()
        self._stderr.clear()
        if self._brake is not None:
            self._brake.hold()
        self._buffer = message_buffer

    def forget_turn(self) -> None:
        """Drop the turn's callback, which holds the request's body, and ignore its further messages."""
        self._on_sent = _noop
        self._buffer = None

    async def _route(self, lines: list[bytes]) -> list[Message]:
        for_sdk: list[Message] = []
        for_turn: list[Message] = []
        size_bytes = 0
        for line in lines:
            message = self._parse(line)
            if message is None:
                continue
            kind = message.get("type")
            if kind in _TURN_TYPES:
                for_turn.append(message)
                size_bytes += len(line)
            elif kind in CONTROL_TYPES and not self._resolve_reply(message):
                for_sdk.append(message)
            elif message.get("status") == "requesting":
                self._on_sent()
            elif message.get("subtype") == "api_retry":  # it waits at least 0.25 s before the retry
                self._end_turn(self.upstream_error or error_of_retry(message))
        if for_turn and self._buffer is not None:
            await self._buffer.put(for_turn, size_bytes)
        return for_sdk

    async def _read_stderr(self, read_end: int) -> None:
        stderr, transport = await open_reader(read_end)
        self._brake = brake = StderrBackpressure(self.process.pid, read_end=read_end, send_signal=self._send_signal)
        lines = Lines()
        try:
            while chunk := await stderr.read(READ_BYTES):
                for line in lines.feed(chunk):
                    self._stderr.append(line)
                    self._on_stderr_line(line)
                if (start := lines.long) is not None and (error := error_in(start, cut=True)) is not None:
                    self._end_turn(error)  # the CLI would take seconds for the rest, which is not needed
                brake.release(len(chunk))
        finally:
            self._brake = None
            brake.close()
            transport.close()

    def _on_stderr_line(self, line: str) -> None:
        error = error_in(line)
        if error is None:
            return
        self.upstream_error = error
        self.upstream_error_seen.set()
        if is_retried_by_cli(error):
            self._end_turn(error)

    def _end_turn(self, error: ProxyError) -> None:
        """Kill the process now; the turn's buffer closes when stdout does."""
        if self.final_error is None:
            self.final_error = without_redactions(error)
            self.kill()

    def _on_stdout_end(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
        super()._on_stdout_end()


def _noop() -> None:
    """Default callback, between turns."""
