"""One run on one worker: replay, prompt, the message's events, and the end of everything that belongs to it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.core.offload import offload
from apiproxy.engines.agents.history import Replay, replay_of
from apiproxy.engines.agents.launch import cli_model
from apiproxy.engines.agents.metering import RunMeter
from apiproxy.engines.agents.parameters import overlay_of, overlay_settings
from apiproxy.engines.agents.translation import Translation
from apiproxy.engines.agents.worker import AgentWorker
from apiproxy.engines.base import Batch, EngineRequest, Outcome
from apiproxy.engines.sdk.message_buffer import Message, MessageBuffer
from apiproxy.engines.sdk.process import ControlError

logger = logging.getLogger(__name__)

_BUFFER_BYTES = 4 * 1024 * 1024
_GONE_TIMEOUT_S = 5.0
_CONTROL_TIMEOUT_S = 10.0
_END_GRACE_S = 0.2
"""How long a call may take to end once the CLI has its message."""


class AgentAnswer:
    """`engines.base.Answer` of a run."""

    def __init__(self, worker: AgentWorker, request: EngineRequest, meter: RunMeter) -> None:
        self._worker = worker
        self._transport = worker.transport
        self._request = request
        self._buffer = MessageBuffer(limit_bytes=_BUFFER_BYTES)
        self._translation = Translation(
            worker.agent,
            model=request.name or worker.agent.slug,
            counts=meter,
            on_step=request.on_step,
            clock=time.time,
            listing=worker.listing() if request.lists_tools else (),
        )
        self._pid = worker.pid
        self._stopping = False
        self._time_is_up = False
        self._failure: ProxyError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._over = False
        worker.socket.bind(meter)

    @property
    def pid(self) -> int:
        """Process id of the CLI's jail, or of the CLI itself without one."""
        return self._pid

    @property
    def headers(self) -> Mapping[str, str]:
        """None: a run has many responses."""
        return {}

    @property
    def stalls(self) -> bool:
        """False while a tool runs."""
        return not self._translation.waits_for_tools

    @property
    def stderr_tail(self) -> str:
        """Last lines of the CLI's stderr."""
        return self._transport.stderr_tail

    @property
    def outcome(self) -> Outcome:
        assert self._translation.outcome is not None, "the run is not over"
        return self._translation.outcome

    async def start(self) -> None:
        """Begin to send the client's messages. Raises ProxyError(INVALID_REQUEST); nothing has been sent then."""
        size_bytes, agent = self._request.body_bytes, self._worker.agent
        try:
            replay = await offload(size_bytes, replay_of, self._request.body.get("messages"), agent)
        except RecursionError:
            raise ProxyError(FailureKind.INVALID_REQUEST, "The request body is nested too deeply.") from None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(agent.max_duration_s, self._end_time)
        self._beginning = asyncio.create_task(self._begin(replay), name=f"begin {self._request.run_id}")

    async def next_batch(self) -> Batch | None:
        """Wait for events; None at the end."""
        while self._translation.outcome is None:
            messages = await self._buffer.take()
            events = await self._events(messages)
            if events:
                return Batch(events)
        return None

    def stop(self) -> None:
        """End the run soon; `release` then kills the worker."""
        self._stopping = True
        self._buffer.wake()

    async def release(self) -> None:
        """End the worker, with its jail, its sessions and its folder, within seconds."""
        if self._timer is not None:
            self._timer.cancel()
        if self._beginning is not None:
            self._beginning.cancel()
        self._worker.retire()
        self._buffer.discard()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GONE_TIMEOUT_S):
                await self._worker.wait_gone()

    async def _begin(self, replay: Replay) -> None:
        """Send parameters, earlier turns and the prompt."""
        try:
            await self._send(replay)
        except (ConnectionError, TimeoutError, ControlError) as error:
            logger.info("agents.begin_failed", extra={"reqId": self._request.run_id, "error": type(error).__name__})
            self._fail(ProxyError(FailureKind.WORKER_DIED, "The worker process of the agent died."))
        except RecursionError:
            self._fail(ProxyError(FailureKind.INVALID_REQUEST, "The request body is nested too deeply."))

    async def _send(self, replay: Replay) -> None:
        size_bytes, model = self._request.body_bytes, cli_model(self._worker.agent)
        overlay = overlay_of(self._request.body, self._worker.agent)
        await self._transport.control(
            "apply_flag_settings", timeout_s=_CONTROL_TIMEOUT_S, settings=overlay_settings(overlay)
        )
        for turn in replay.turns:
            await self._transport.replay(turn.role, turn.content, model=model, size_bytes=size_bytes)
        self._transport.start_run(self._buffer)
        await self._transport.prompt(replay.prompt, size_bytes=size_bytes)

    async def _events(self, messages: list[Message] | None) -> list[StreamEvent]:
        """Events after these messages; None if the process has ended."""
        translation = self._translation
        if self._stopping:
            await self._settle()
            translation.stopped()
            return []
        if self._failure is not None or (messages is None and self._worker.exceeded):
            await self._settle()
            translation.broken(self._failure or self._exceeded())
            return []
        if self._time_is_up:
            await self._settle()
            return translation.time_is_up()
        if messages is None:
            await self._settle()
            return translation.ended()
        events: list[StreamEvent] = []
        for message in messages:
            if message["type"] == "result":
                await self._settle(grace_s=_END_GRACE_S)
            events += translation.feed(message)
        return events

    async def _settle(self, *, grace_s: float = 0.0) -> None:
        """Wait until the relay has counted all calls, which the usage of the message needs."""
        if not self._over:
            self._over = True
            await self._worker.socket.close(grace_s=grace_s)

    def _end_time(self) -> None:
        self._time_is_up = True
        self._buffer.wake()

    def _fail(self, error: ProxyError) -> None:
        self._failure = error
        self._buffer.wake()

    def _exceeded(self) -> ProxyError:
        limit = self._worker.exceeded
        return ProxyError(
            FailureKind.WORKER_DIED, f"The agent {self._worker.agent.slug} was ended: it used too much {limit}."
        )
