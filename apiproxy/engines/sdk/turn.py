"""One turn on one worker.

Writes overlay and message, reads batches of stream events, and releases the worker.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.core.futures import retrieve
from apiproxy.core.offload import LARGE_BYTES, offload
from apiproxy.engines.base import Batch, Broken, EngineRequest, Outcome, Stopped
from apiproxy.engines.sdk.message_buffer import Message, MessageBuffer
from apiproxy.engines.sdk.overlay import (
    empty_overlay_line,
    header_lines,
    large_turn_lines,
    overlay_body,
    turn_lines,
)
from apiproxy.engines.sdk.process import ControlError, new_control_id
from apiproxy.engines.sdk.translation import Translation
from apiproxy.engines.sdk.worker import Worker

logger = logging.getLogger(__name__)

_BUFFER_BYTES = 4 * 1024 * 1024
_INTERRUPT_TIMEOUT_S = 0.6
_STDERR_GRACE_S = 0.05
"""The exact error is written to stderr before the result to stdout, but they are two pipes."""


class WorkerAnswer:
    """`engines.base.Answer` of a worker.

    on_released: called with the worker and whether it can be used again.
    """

    def __init__(self, worker: Worker, request: EngineRequest, on_released: Callable[[Worker, bool], None]) -> None:
        self._worker = worker
        self._transport = worker.transport
        self._request = request
        self._on_released = on_released
        self._message_uuid = str(uuid.uuid4())
        self._buffer = MessageBuffer(limit_bytes=_BUFFER_BYTES)
        self._translation = Translation(model=request.model)
        self._overlay_replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._result_seen = False
        self._stopping = False
        self._pid = worker.pid

    @property
    def pid(self) -> int:
        """Process id of the CLI."""
        return self._pid

    @property
    def headers(self) -> Mapping[str, str]:
        """None: the CLI does not report them."""
        return {}

    @property
    def stalls(self) -> bool:
        return True  # the CLI always streams

    @property
    def stderr_tail(self) -> str:
        """Last lines of the CLI's stderr in this turn."""
        return self._transport.stderr_tail

    @property
    def outcome(self) -> Outcome:
        assert self._translation.outcome is not None, "the turn is not over"
        return self._translation.outcome

    async def start(self) -> None:
        """Write overlay and message. A process that has ended shows in `next_batch`.

        Raises ProxyError(INVALID_REQUEST) for a body that cannot be encoded; nothing has been written then.
        """
        control_id = new_control_id()
        try:
            lines = await offload(self._request.body_bytes, self._lines, control_id)
        except RecursionError:
            raise ProxyError(FailureKind.INVALID_REQUEST, "The request body is nested too deeply.") from None
        self._transport.start_turn(self._buffer, on_sent=self._request.on_sent)
        if self._worker.switch_key(self._request.key_id):
            rest_id = new_control_id()
            self._expect_reply(rest_id)
            lines.insert(0, empty_overlay_line(rest_id, operators=self._worker.operator_headers))
        self._expect_reply(control_id)
        try:
            await self._transport.write_bytes(*lines)
        except ConnectionError:
            self._buffer.close()
        if not self._worker.alive:  # it ended during the encoding, and closed the buffer of the turn before
            self._buffer.close()

    async def next_batch(self) -> Batch | None:
        """Wait for events; None at the end."""
        while self._translation.outcome is None:
            messages = await self._buffer.take()
            if self._stopping:
                self._note_result(messages or [])
                self._translation.stopped()
            elif messages is None:
                if events := self._translation.ended(self._transport.final_error):
                    return Batch(events)
            elif messages and (events := await self._translate(messages)):
                return Batch(events)
        return None

    def stop(self) -> None:
        """End the turn soon; `release` then interrupts the CLI."""
        self._stopping = True
        self._buffer.wake()

    async def release(self) -> None:
        """Interrupt a turn that still runs and release the worker, within about two seconds."""
        usable = False
        try:
            usable = await self._reset_worker()
        finally:
            if not usable:
                self._transport.kill()
            self._transport.forget_turn()
            self._on_released(self._worker, usable)

    def _lines(self, control_id: str) -> list[bytes]:
        request = self._request
        overlay = overlay_body(request.body, model=request.model, betas=request.betas)
        headers = header_lines(self._worker.operator_headers, api_version=request.api_version, headers=request.headers)
        if request.body_bytes > LARGE_BYTES:
            return large_turn_lines(overlay, headers=headers, control_id=control_id, message_uuid=self._message_uuid)
        return [turn_lines(overlay, headers=headers, control_id=control_id, message_uuid=self._message_uuid)]

    async def _translate(self, messages: list[Message]) -> list[StreamEvent]:
        if not self._overlays_accepted():
            self._transport.kill()
            self._translation.broken(ProxyError(FailureKind.WORKER_DIED, "The worker rejected the request."))
            return []
        events: list[StreamEvent] = []
        for message in messages:
            if message["type"] == "result":
                await self._await_stderr(message)
                self._result_seen = True
            events += self._translation.feed(message, exact_error=self._transport.upstream_error)
        return events

    def _expect_reply(self, control_id: str) -> None:
        answer = self._transport.expect(control_id)
        answer.add_done_callback(retrieve)
        self._overlay_replies[control_id] = answer

    def _overlays_accepted(self) -> bool:
        """True if the CLI has accepted the overlays: its replies precede the turn's first message."""
        return bool(self._overlay_replies) and all(
            reply.done() and not reply.cancelled() and reply.exception() is None
            for reply in self._overlay_replies.values()
        )

    async def _await_stderr(self, result: Message) -> None:
        if not result.get("is_error") or result.get("api_error"):  # stderr has nothing about a lost connection
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STDERR_GRACE_S):
                await self._transport.upstream_error_seen.wait()

    async def _reset_worker(self) -> bool:
        outcome = self._translation.outcome
        if isinstance(outcome, Broken) and outcome.error.kind is FailureKind.WORKER_DIED:
            return False  # a live process without an answer would fail the next turn too
        if isinstance(outcome, Stopped) and not self._result_seen:
            await self._interrupt()
        if not self._result_seen or not self._worker.alive:
            return False
        return await self._worker.rewind(self._message_uuid)

    async def _interrupt(self) -> None:
        """Interrupt the turn and wait for its `result`; sets `_result_seen` if it came."""
        self._buffer.discard()
        try:
            async with asyncio.timeout(_INTERRUPT_TIMEOUT_S):
                await self._transport.control("interrupt")
                while not self._result_seen and (messages := await self._buffer.take()) is not None:
                    self._note_result(messages)
        except (TimeoutError, ControlError, ConnectionError) as error:
            logger.info("worker.interrupt_failed", extra={"worker": self._worker.id, "error": repr(error)})

    def _note_result(self, messages: list[Message]) -> None:
        for message in messages:
            if message["type"] == "result":
                self._result_seen = True
