"""A run: the attempt to answer one turn, owned by one task that is never cancelled.

To end it early, call `stop`. The owner task then informs the client and the observers, waits until the worker is free,
and only then releases its slot, so the number of busy processes never exceeds the limit.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import (
    Admitted,
    Cancelled,
    CancelReason,
    Ending,
    Failed,
    Finished,
    Queued,
    Retrying,
    RunEvent,
    Step,
    Stepped,
    Streamed,
    Usage,
    WorkerReady,
)
from apiproxy.core.turns import Turn
from apiproxy.engines.base import Answer, AnswerSource, Batch, Broken, Completed, EngineRequest, Outcome, Stopped
from apiproxy.runs.admission import Admission
from apiproxy.runs.agent_metering import AgentMeter
from apiproxy.runs.circuit_breaker import Attempt, Breaker, upstream_failed
from apiproxy.runs.event_buffer import EventBuffer
from apiproxy.runs.first_of import first_of
from apiproxy.runs.metering import Estimate, Meter, Price
from apiproxy.runs.retries import Retries, pause_s
from apiproxy.runs.run_limits import RunLimits
from apiproxy.runs.slot import Slot
from apiproxy.runs.stall_watch import StallWatch

logger = logging.getLogger(__name__)


class Run:
    """One run. Created by `Runtime.begin`; `event_buffer` is read by the one response that answers it.

    marks: time of the first event of each kind, in Unix seconds. headers: the upstream's, for the client.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        engine: AnswerSource,
        admission: Admission,
        breaker: Breaker,
        limits: RunLimits,
        publish: Callable[[Turn, RunEvent], None],
        price: Price,
        estimate: Estimate,
    ) -> None:
        self.turn = turn
        self.event_buffer = EventBuffer()
        self.marks: dict[type[RunEvent], float] = {}
        self.headers: Mapping[str, str] = {}
        self._engine = engine
        self._admission = admission
        self._breaker = breaker
        self._limits = limits
        self._publish = publish
        meter = Meter if turn.agent is None else AgentMeter
        self._meter = meter(turn, price=price, estimate=estimate)
        self._stopped = asyncio.Event()
        self._stop_cause: CancelReason | ProxyError = CancelReason.OPERATOR
        self._answer: Answer | None = None
        self._streaming = False
        self._ended = False
        self._stalls = StallWatch(limits.stall_timeout_s)

    def stop(self, cause: CancelReason | ProxyError) -> None:
        """End the run soon, as cancelled or as failed.

        The first cause counts. Returns at once; may be called any number of times.
        """
        if self._stopped.is_set() or self._ended:
            return
        self._stop_cause = cause
        self._stopped.set()
        if cause is CancelReason.CLIENT_DISCONNECT:
            self.event_buffer.abandon()
        if self._answer is not None:
            self._answer.stop()

    async def execute(self) -> None:
        """Body of the owner task; returns when the slot is free again.

        Raises only CancelledError, at process exit.
        """
        slot: Slot | None = None
        try:
            slot = await self._admit()
            if slot is None:
                self._end(self._stopped_ending(Usage()))
            else:
                await self._attempts(slot)
        except ProxyError as error:
            used = await self._meter.usage()
            stopped = error.kind is FailureKind.CANCELLED
            self._end(self._stopped_ending(used) if stopped else Failed(time.time(), error, used))
        except Exception:  # a bug of the gateway; the client must get an answer and the slot must be released
            logger.exception("run.crashed", extra={"reqId": self.turn.id})
            internal = ProxyError(FailureKind.INTERNAL, "Internal server error")
            self._end(Failed(time.time(), internal, await self._meter.usage_after_crash(internal)))
        finally:
            if slot is not None:
                slot.release()

    async def _admit(self) -> Slot | None:
        caller = self.turn.caller
        slot = await self._admission.acquire(
            key=caller.key_id,
            priority=caller.priority,
            stopped=self._stopped,
            on_queued=lambda position: self._emit(Queued(time.time(), position)),
        )
        if slot is not None:
            self._emit(Admitted(time.time()))
        return slot

    async def _attempts(self, slot: Slot) -> None:
        limit = ProxyError(FailureKind.MAX_DURATION, "The request took longer than the gateway allows.")
        max_duration = asyncio.get_running_loop().call_later(self._limits.max_duration_s, self.stop, limit)
        stall_watch = asyncio.create_task(self._watch_for_stalls())
        retries = Retries(self._limits.upstream_retries)
        try:
            while (error := await self._attempt(slot, retries)) is not None:
                self._emit(Retrying(time.time(), error))
                retries.spend(error)
                if error.kind is not FailureKind.WORKER_DIED:
                    await self._pause()
        finally:
            max_duration.cancel()
            stall_watch.cancel()

    async def _attempt(self, slot: Slot, retries: Retries) -> ProxyError | None:
        """Make one attempt on one worker. Returns the error to retry after; None when the run has ended."""
        slot.working()
        self._meter.begin_attempt()
        if self._stopped.is_set():  # while it waited for its slot, or between two attempts
            self._end(self._stopped_ending(await self._meter.usage()))
            return None
        with self._breaker.attempt(self.turn.caller.key_id, request=self.turn.id) as attempt:
            answer = await self._begin(slot)
            if answer is None:
                return None
            released = False
            try:
                outcome = await self._stream(answer, slot, attempt)
                if isinstance(outcome, Broken) and self._may_retry(outcome.error, retries):
                    self._meter.add_lost_attempt(outcome)
                    return outcome.error
                if isinstance(outcome, Stopped) and not self._meter.request_sent:
                    released = True
                    await answer.release()  # else a request sent meanwhile, which is not free, would not be charged
                self._end(await self._ending(outcome, answer))
                return None
            finally:
                self._answer = None
                slot.working()
                if not released:
                    await answer.release()

    async def _begin(self, slot: Slot) -> Answer | None:
        """Hand the turn to a worker; None when the run was stopped before there was one."""
        turn = self.turn
        request = EngineRequest(
            run_id=turn.id,
            key_id=turn.caller.key_id,
            model=turn.upstream_model or (turn.model if turn.agent is None else turn.agent.model),
            body=turn.body,
            body_bytes=turn.body_bytes,
            betas=turn.betas,
            raw_body=None if turn.raw_body is None else turn.raw_body.data,
            stream=turn.stream,
            verbatim=turn.verbatim,
            api_version=turn.api_version,
            headers=turn.headers,
            beta_api=turn.beta_api,
            on_sent=self._meter.on_sent(slot.started),
            on_waiting=slot.started,
            agent=turn.agent,
            lists_tools=turn.lists_tools,
            name=turn.requested_model,
            on_step=self._on_step,
            may_begin=lambda: self._meter.hand_over(stopped=self._stopped.is_set()),
        )
        begin = asyncio.ensure_future(self._engine.begin(request))
        if await first_of(begin, self._stopped) or self._meter.handed_over:
            return await begin
        self._end(self._stopped_ending(await self._meter.usage()))
        answer = await begin  # the slot stays taken until the worker is free
        answer.stop()
        await answer.next_batch()
        await answer.release()
        return None

    async def _stream(self, answer: Answer, slot: Slot, attempt: Attempt) -> Outcome:
        """Forward the answer's events to the client until its end."""
        self._answer = answer
        self._stalls.progress()
        self._emit(WorkerReady(time.time(), answer.pid))
        if self._stopped.is_set():
            answer.stop()
        while (batch := await answer.next_batch()) is not None:
            self.headers = answer.headers
            self._breaker.leave(attempt, failed=False)
            slot.streamed(len(batch.events))
            await self._forward(batch)
        outcome = answer.outcome
        self._breaker.leave(attempt, failed=upstream_failed(outcome))
        slot.failed = isinstance(outcome, Broken)
        return outcome

    async def _forward(self, batch: Batch) -> None:
        if not batch.events or any(event["type"] != "ping" for event in batch.events):
            self._stalls.progress()
        headers = None if self._streaming else self.headers
        self._streaming = True
        if self.turn.raw_body is not None:
            self.turn.raw_body.drop()  # no retry follows
        event = Streamed(time.time(), batch.events, batch.raw, headers)
        self._emit(event)
        self.event_buffer.put(Streamed(event.at, (), batch.raw) if batch.raw else event)
        self._meter.add(batch)
        if self._meter.output_chars > (limit := self._limits.max_output_chars):
            self.stop(ProxyError(FailureKind.MAX_OUTPUT, f"The answer is longer than {limit} characters."))
        if self.event_buffer.full:
            await self._wait_for_client()

    async def _wait_for_client(self) -> None:
        room = asyncio.ensure_future(self.event_buffer.wait_for_room())
        try:
            if not await first_of(room, self._stopped, timeout_s=self._limits.stall_timeout_s):
                self.stop(CancelReason.CLIENT_DISCONNECT)  # a client that reads nothing must not keep its slot
        finally:
            room.cancel()
            self._stalls.progress()

    def _on_step(self, step: Step) -> None:
        self._stalls.on_step(step)
        self._meter.on_step(step)
        self._emit(Stepped(time.time(), step))

    async def _watch_for_stalls(self) -> None:
        # Without an answer the run waits for a worker, with a full buffer for the client: neither is a stall.
        await self._stalls.watch(lambda: self._answer is None or not self._answer.stalls or self.event_buffer.full)
        limit_s = self._limits.stall_timeout_s
        self.stop(ProxyError(FailureKind.STALL, f"The upstream sent nothing for {limit_s:g} seconds."))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s()):
                await self._stopped.wait()

    def _may_retry(self, error: ProxyError, retries: Retries) -> bool:
        return not self._streaming and not self._stopped.is_set() and retries.allow(error)

    async def _ending(self, outcome: Outcome, answer: Answer) -> Ending:
        usage = await self._meter.usage(outcome)
        too_long = self._meter.output_chars > self._limits.max_output_chars
        if isinstance(outcome, Completed) and (answer.stalls or not too_long):  # else it arrived as a whole
            return Finished(time.time(), outcome.stop_reason, usage)
        if isinstance(outcome, Completed | Stopped):
            return self._stopped_ending(usage, answer)
        return Failed(time.time(), outcome.error, usage, self._diagnostics(answer))

    def _stopped_ending(self, usage: Usage, answer: Answer | None = None) -> Ending:
        cause = self._stop_cause
        if isinstance(cause, ProxyError):
            return Failed(time.time(), cause, usage, self._diagnostics(answer))
        return Cancelled(time.time(), cause, usage)

    def _diagnostics(self, answer: Answer | None) -> dict[str, object]:
        if answer is None:
            return {}
        return {"workerPid": answer.pid, "stderrTail": answer.stderr_tail, "outputChars": self._meter.output_chars}

    def _emit(self, event: RunEvent) -> None:
        self.marks.setdefault(type(event), event.at)
        self._publish(self.turn, event)

    def _end(self, ending: Ending) -> None:
        if self._ended:
            return
        self._ended = True
        self._emit(ending)
        self.event_buffer.put(ending)
