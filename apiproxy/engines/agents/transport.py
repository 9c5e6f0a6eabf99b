"""Transport of an agent's CLI process: first the lines of its earlier conversation, then the messages of its run."""

import asyncio
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from apiproxy.core.json_encoding import dump_pieces
from apiproxy.core.offload import offload
from apiproxy.engines.agents.jail import kill_jail
from apiproxy.engines.sdk.message_buffer import Message, MessageBuffer
from apiproxy.engines.sdk.process import CONTROL_TYPES, CliProcess

_RUN_TYPES = frozenset({"stream_event", "user", "result"})
_MAX_OUTPUT_BYTES = 512 * 1024 * 1024
_MAX_REQUESTS = 32
"""Control requests at once, which are calls of the gateway's MCP servers. Programs in the jail can write to the CLI's
stdout, too: they must not keep the gateway busy, nor fill its memory."""
_REQUEST_ID = re.compile(r'"type": "control_response".{0,80}?"request_id": "([^"]*)"')


class AgentTransport(CliProcess):
    """CLI process of one run. on_exit: called once, when stdout closes."""

    def __init__(self, *, command: list[str], env: dict[str, str], cwd: Path, on_exit: Callable[[], None]) -> None:
        super().__init__(command=command, env=env, cwd=cwd, on_exit=on_exit)
        self._buffer: MessageBuffer | None = None
        self._acknowledged: asyncio.Future[None] | None = None
        self._requests: set[str] = set()
        self._output_bytes = 0
        self.init: Message = {}
        """The CLI's last `init`: the tools it offers and the states of its MCP servers."""

    def start_run(self, message_buffer: MessageBuffer) -> None:
        """Route further messages to the buffer."""
        self._buffer = message_buffer
        if not self.is_ready():
            message_buffer.close()

    async def prompt(self, content: object, *, size_bytes: int = 0) -> str:
        """Send a user message that starts the run; returns its uuid. Raises ConnectionError."""
        return await self._say(content, size_bytes=size_bytes)

    async def replay(self, role: Literal["user", "assistant"], content: object, *, model: str, size_bytes: int) -> str:
        """Add a turn to the conversation; returns its uuid. model: the process's, else it drops thinking blocks.

        Waits until the CLI has acknowledged a user's turn, because it would put the next of the model's before it.
        Raises ConnectionError.
        """
        if role == "assistant":
            return await self._write(_assistant(content, model), size_bytes=size_bytes)
        self._acknowledged = asyncio.get_running_loop().create_future()
        try:
            message_uuid = await self._say(content, size_bytes=size_bytes, shouldQuery=False)
            await self._acknowledged
        finally:
            self._acknowledged = None
        return message_uuid

    async def write(self, data: str) -> None:
        """Write data from the SDK, such as the replies to control requests."""
        if (reply := _REQUEST_ID.search(data[:400])) is not None:
            self._requests.discard(reply[1])
        await super().write(data)

    async def _say(self, content: object, *, size_bytes: int, **fields: object) -> str:
        message = {"type": "user", "message": {"role": "user", "content": content}, "client_composed": True, **fields}
        return await self._write(message, size_bytes=size_bytes)

    async def _write(self, message: Mapping[str, Any], *, size_bytes: int) -> str:
        message_uuid = str(uuid.uuid4())
        line = {**message, "parent_tool_use_id": None, "session_id": "", "uuid": message_uuid}
        pieces = await offload(size_bytes, lambda: list(dump_pieces(line)))
        await self.write_bytes(*pieces, b"\n")
        return message_uuid

    async def _route(self, lines: list[bytes]) -> list[Message]:
        for_sdk: list[Message] = []
        for_run: list[Message] = []
        size_bytes = 0
        self._output_bytes += sum(map(len, lines))
        if self._output_bytes > _MAX_OUTPUT_BYTES:
            self.kill()
            return []
        for line in lines:
            message = self._parse(line)
            kind = None if message is None else message.get("type")
            if message is None or kind is None:
                continue
            if kind in CONTROL_TYPES:
                if not self._resolve_reply(message) and self._admits(message):
                    for_sdk.append(message)
            elif kind in _RUN_TYPES and self._buffer is not None:
                for_run.append(message)
                size_bytes += len(line)
            elif kind == "result":
                self._acknowledge()
            elif kind == "system" and message.get("subtype") == "init" and self._buffer is None:
                self.init = message
        if for_run and self._buffer is not None:
            await self._buffer.put(for_run, size_bytes)
        return for_sdk

    def _admits(self, message: Message) -> bool:
        """False for a request too many, whereupon the process is killed."""
        request_id = str(message.get("request_id"))
        if message["type"] == "control_cancel_request":
            self._requests.discard(request_id)
        elif message["type"] == "control_request":
            if request_id in self._requests or len(self._requests) >= _MAX_REQUESTS:
                self.kill()
                return False
            self._requests.add(request_id)
        return True

    def kill(self) -> None:
        """Kill the process and all others of its jail; a no-op once it has ended."""
        if self.is_ready():
            kill_jail(self.process.pid)

    def _acknowledge(self) -> None:
        if self._acknowledged is not None and not self._acknowledged.done():
            self._acknowledged.set_result(None)

    def _on_stdout_end(self) -> None:
        if self._acknowledged is not None and not self._acknowledged.done():
            self._acknowledged.set_exception(ConnectionResetError("the worker ended"))
            self._acknowledged.exception()  # the caller may have stopped waiting, and asyncio would warn
        if self._buffer is not None:
            self._buffer.close()
        super()._on_stdout_end()


def _assistant(content: object, model: str) -> dict[str, Any]:
    message = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
        "content": content,
    }
    return {"type": "assistant", "message": message}
