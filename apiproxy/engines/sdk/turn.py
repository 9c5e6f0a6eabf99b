"""One turn on one worker: overlay and message out, batches of stream events in, and the worker given back."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.core.offload import LARGE_BYTES, offload
from apiproxy.engines.base import Broken, EngineRequest, Outcome, Stopped
from apiproxy.engines.sdk.message_buffer import Message, MessageBuffer
from apiproxy.engines.sdk.overlay import large_turn_lines, overlay_body, rest_line, turn_lines
from apiproxy.engines.sdk.translation import Translation
from apiproxy.engines.sdk.transport import ControlError, new_control_id
from apiproxy.engines.sdk.worker import Worker

logger = logging.getLogger(__name__)

_INBOX_BYTES = 4 * 1024 * 1024
_INTERRUPT_TIMEOUT_S = 0.6
_STDERR_GRACE_S = 0.05
"""The exact error is on stderr before the result is on stdout, but they are two pipes."""


class WorkerAnswer:
    """The real `engines.base.Answer`. `on_released` gives the worker back to the pool and says if it is usable."""

    def __init__(self, worker: Worker, request: EngineRequest, on_released: Callable[[Worker, bool], None]) -> None:
        self._worker = worker
        self._transport = worker.transport
        self._request = request
        self._on_released = on_released
        self._message_uuid = str(uuid.uuid4())
        self._inbox = MessageBuffer(limit_bytes=_INBOX_BYTES)
        self._translation = Translation(model=request.model)
        self._bound: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._result_seen = False
        self._stopping = False
        self._pid = worker.pid

    @property
    def pid(self) -> int:
        """The CLI process's id."""
        return self._pid

    @property
    def stderr_tail(self) -> str:
        """The last lines that the CLI process wrote to stderr in this turn."""
        return self._transport.stderr_tail

    @property
    def outcome(self) -> Outcome:
        """How the turn ended."""
        assert self._translation.outcome is not None, "the turn is not over"
        return self._translation.outcome

    async def start(self) -> None:
        """Writes overlay and message. A process that has gone shows in `next_batch`.

        Raises ProxyError(INVALID_REQUEST) for a body that cannot be written; the worker has heard nothing then.
        """
        control_id = new_control_id()
        try:
            lines = await offload(self._request.body_bytes, self._lines, control_id)
        except RecursionError:
            raise ProxyError(FailureKind.INVALID_REQUEST, "The request body is nested too deeply.") from None
        self._transport.start_turn(self._inbox, on_sent=self._request.on_sent)
        written = [lines]
        if self._worker.overlays_for(self._request.key_id):
            rest_id = new_control_id()
            self._expect(rest_id)
            written.insert(0, rest_line(rest_id))
        self._expect(control_id)
        try:
            for data in written:
                await self._transport.write_bytes(data)
        except ConnectionError:
            self._inbox.close()
        if not self._worker.alive:  # it went while the lines were made, and told the inbox of the turn before
            self._inbox.close()

    async def next_batch(self) -> Sequence[StreamEvent] | None:
        """The events that have arrived; None at the end."""
        while self._translation.outcome is None:
            messages = await self._inbox.take()
            if self._stopping:
                self._saw_result(messages or [])
                self._translation.stopped()
            elif messages is None:
                if events := self._translation.ended(self._transport.final_error):
                    return events
            elif messages and (events := await self._translate(messages)):
                return events
        return None

    def stop(self) -> None:
        """Ends the turn soon; `release` then interrupts the CLI."""
        self._stopping = True
        self._inbox.wake()

    async def release(self) -> None:
        """Ends what still runs and gives the worker back. Within about two seconds, whatever the process does."""
        usable = False
        try:
            usable = await self._free()
        finally:
            if not usable:
                self._transport.kill()
            self._on_released(self._worker, usable)

    def _lines(self, control_id: str) -> bytes:
        request = self._request
        overlay = overlay_body(request.body, model=request.model, betas=request.betas)
        make = large_turn_lines if request.body_bytes > LARGE_BYTES else turn_lines
        return make(overlay, control_id=control_id, message_uuid=self._message_uuid)

    async def _translate(self, messages: list[Message]) -> list[StreamEvent]:
        if not self._is_bound():
            self._transport.kill()
            self._translation.broken(ProxyError(FailureKind.WORKER_DIED, "The worker refused the request."))
            return []
        events: list[StreamEvent] = []
        for message in messages:
            if message["type"] == "result":
                await self._await_stderr(message)
                self._result_seen = True
            events += self._translation.feed(message, exact_error=self._transport.upstream_error)
        return events

    def _expect(self, control_id: str) -> None:
        answer = self._transport.expect(control_id)
        answer.add_done_callback(_retrieve)
        self._bound[control_id] = answer

    def _is_bound(self) -> bool:
        """Whether the CLI has taken our overlays: its answers come before the turn's first message."""
        return bool(self._bound) and all(
            bound.done() and not bound.cancelled() and bound.exception() is None for bound in self._bound.values()
        )

    async def _await_stderr(self, result: Message) -> None:
        if not result.get("is_error") or result.get("api_error"):  # a lost connection is not explained there
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STDERR_GRACE_S):
                await self._transport.upstream_error_seen.wait()

    async def _free(self) -> bool:
        outcome = self._translation.outcome
        if isinstance(outcome, Broken) and outcome.error.kind is FailureKind.WORKER_DIED:
            return False  # it lives and has no answer: so it would be the next time
        if isinstance(outcome, Stopped) and not self._result_seen:
            await self._interrupt()
        if not self._result_seen or not self._worker.alive:
            return False
        return await self._worker.rewind(self._message_uuid)

    async def _interrupt(self) -> None:
        """Asks the CLI to end the turn and waits for its `result`; afterwards `_result_seen` tells."""
        self._inbox.discard()
        try:
            async with asyncio.timeout(_INTERRUPT_TIMEOUT_S):
                await self._transport.control("interrupt")
                while not self._result_seen and (messages := await self._inbox.take()) is not None:
                    self._saw_result(messages)
        except (TimeoutError, ControlError, ConnectionError) as error:
            logger.info("worker.interrupt_failed", extra={"worker": self._worker.id, "error": repr(error)})

    def _saw_result(self, messages: list[Message]) -> None:
        for message in messages:
            if message["type"] == "result":
                self._result_seen = True


def _retrieve(future: asyncio.Future[dict[str, object]]) -> None:
    """A refused overlay is looked at in `_is_bound`; asyncio must not warn that nobody did."""
    if not future.cancelled():
        future.exception()
