"""A run on real workers: its order of events, what ends it, what is tried again, and that its slot comes back."""

import asyncio
import os
import signal
import time
from functools import partial

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import (
    Admitted,
    Cancelled,
    CancelReason,
    Failed,
    Finished,
    Queued,
    Retrying,
    Streamed,
    WorkerReady,
)
from apiproxy.engines.base import Answer, EngineRequest
from apiproxy.engines.sdk.pool import Pool
from tests.support.engine import mark
from tests.support.runs import RunDesk, limits, turn_of
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

FREE_WITHIN_S = 2.0
"""Twice what is promised: the machine may be busy with other tests."""


@pytest.fixture
def desk(pool: Pool) -> RunDesk:
    return RunDesk(pool)


def asked(stand_in: StandInProcess, sent: str, *, times: int) -> bool:
    return len(stand_in.recorded(containing=sent)) == times


def failure(ending: object) -> ProxyError:
    assert isinstance(ending, Failed), ending
    return ending.error


class CountingEngine:
    """The real pool, and how many of its workers were ever busy at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._busy = 0
        self.most = 0

    async def begin(self, request: EngineRequest) -> Answer:
        self._busy += 1
        self.most = max(self.most, self._busy)
        answer = await self._pool.begin(request)
        release = answer.release

        async def counted_release() -> None:
            await release()
            self._busy -= 1

        answer.release = counted_release  # type: ignore[method-assign]  # to see when the worker is free
        return answer


class LateEngine:
    """The real pool, whose workers are late."""

    def __init__(self, pool: Pool, *, delay_s: float) -> None:
        self._pool = pool
        self._delay_s = delay_s

    async def begin(self, request: EngineRequest) -> Answer:
        await asyncio.sleep(self._delay_s)
        return await self._pool.begin(request)


class TestOrder:
    async def test_publish_run_phases_in_order(self, desk: RunDesk) -> None:
        started = desk.start(turn_of("[[n=3]] [[out=9]]"))

        ending = await started.read_to_the_end()

        assert started.kinds() == [Queued, Admitted, WorkerReady, Streamed, Finished]
        assert started.text == "tok0 tok1 tok2 "
        assert isinstance(ending, Finished)
        assert (ending.stop_reason, ending.usage.output_tokens, ending.usage.cost_usd) == ("end_turn", 9, 9.0)
        assert ending is started.ending
        times = [event.at for event in started.heard]
        assert times == sorted(times)
        batches = [event for event in started.heard if isinstance(event, Streamed)]
        assert [batch.headers is not None for batch in batches] == [True] + [False] * (len(batches) - 1)
        assert desk.free()

    async def test_keep_slot_until_worker_is_free_after_disconnect(self, pool: Pool) -> None:
        engine = CountingEngine(pool)
        desk = RunDesk(engine, slots=2)
        started = [desk.start(turn_of("[[n=1000]] [[gap=0.01]]")) for _ in range(6)]

        for run in started:
            await run.read_until(Streamed)
            run.run.stop(CancelReason.CLIENT_DISCONNECT)
        for run in started:
            await run.over()

        assert engine.most == 2
        assert desk.free()


class TestRetries:
    @pytest.mark.fault("The CLI", "is killed before the first byte", trace="completed, tried again")
    async def test_hide_worker_death_before_first_byte_from_client(
        self, desk: RunDesk, stand_in: StandInProcess
    ) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[first=0.4]] [[n=2]]"))
        await eventually_async(lambda: stand_in.recorded(containing=sent))

        os.kill(started.last(WorkerReady).pid, signal.SIGKILL)
        ending = await started.read_to_the_end()

        assert isinstance(ending, Finished)
        assert started.text == "tok0 tok1 "
        assert [event["type"] for event in started.events].count("message_start") == 1
        assert started.last(Retrying).error.kind is FailureKind.WORKER_DIED
        assert len(stand_in.recorded(containing=sent)) == 2

    async def test_fail_without_retry_when_worker_dies_after_first_byte(
        self, desk: RunDesk, stand_in: StandInProcess
    ) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[n=5]] [[midhang=2]]"))
        await started.read_until(Streamed)

        os.kill(started.last(WorkerReady).pid, signal.SIGKILL)

        assert failure(await started.read_to_the_end()).kind is FailureKind.WORKER_DIED
        assert started.last(Retrying) is None
        stand_in.only(sent)
        assert desk.free()

    async def test_workers_that_keep_dying_are_a_failure_in_the_end(
        self, desk: RunDesk, stand_in: StandInProcess
    ) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[silent]]"))

        for attempt in range(1, 4):
            await eventually_async(partial(asked, stand_in, sent, times=attempt), within_s=20)
            os.kill(started.last(WorkerReady).pid, signal.SIGKILL)

        assert failure(await started.read_to_the_end()).kind is FailureKind.WORKER_DIED
        assert desk.free()

    @pytest.mark.parametrize("fault", ["500", "529", "drop"])
    async def test_retry_transient_failure_once(self, desk: RunDesk, stand_in: StandInProcess, fault: str) -> None:
        sent = mark()
        started = desk.start(turn_of(f"[[flaky={sent}:1:{fault}]] [[n=2]]"))

        ending = await started.read_to_the_end()

        assert isinstance(ending, Finished)
        assert started.text == "tok0 tok1 "
        assert started.kinds() == [Queued, Admitted, WorkerReady, Retrying, WorkerReady, Streamed, Finished]
        assert len(stand_in.recorded(containing=sent)) == 2

    @pytest.mark.parametrize(("retries", "calls"), [(0, 1), (1, 2), (2, 3)])
    async def test_retry_transient_failure_as_often_as_set(
        self, desk: RunDesk, stand_in: StandInProcess, retries: int, calls: int
    ) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[status=529]]"), limits(upstream_retries=retries))

        error = failure(await started.read_to_the_end())

        assert error.upstream is not None
        assert (error.upstream.status, error.upstream.type) == (529, "overloaded_error")
        assert len(stand_in.recorded(containing=sent)) == calls
        assert desk.free()

    @pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 503])
    async def test_other_statuses_are_the_clients_to_retry(
        self, desk: RunDesk, stand_in: StandInProcess, status: int
    ) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[status={status}]]"))

        error = failure(await started.read_to_the_end())

        assert error.upstream is not None
        assert error.upstream.status == status
        stand_in.only(sent)

    @pytest.mark.parametrize("fault", ["[[cut=2]] [[gap=0.05]]", "[[miderror=2]]"])
    async def test_retry_nothing_after_first_byte(self, desk: RunDesk, stand_in: StandInProcess, fault: str) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[n=5]] {fault}"))

        assert isinstance(await started.read_to_the_end(), Failed)
        assert started.events
        stand_in.only(sent)

    async def test_end_run_stopped_during_pause_before_retry(self, desk: RunDesk, stand_in: StandInProcess) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[status=529]]"), limits(upstream_retries=100))
        await eventually_async(lambda: started.last(Retrying))

        started.run.stop(CancelReason.OPERATOR)

        assert isinstance(await started.over(), Cancelled)
        stand_in.only(sent)


class TestLimits:
    @pytest.mark.parametrize("prompt", ["[[n=5]] [[midhang=2]]", "[[silent]]", "[[hang]]"])
    async def test_detect_stall_of_silent_upstream(self, desk: RunDesk, stand_in: StandInProcess, prompt: str) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} {prompt}"), limits(stall_timeout_s=1.5))

        error = failure(await started.read_to_the_end())

        assert error.kind is FailureKind.STALL
        assert "1.5 seconds" in error.message
        assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client
        assert desk.free()

    async def test_tolerate_slow_upstream(self, desk: RunDesk) -> None:
        started = desk.start(turn_of("[[n=14]] [[gap=0.25]]"), limits(stall_timeout_s=3))

        assert isinstance(await started.read_to_the_end(), Finished)

    async def test_not_report_slow_worker_start_as_stall(self, pool: Pool) -> None:
        desk = RunDesk(LateEngine(pool, delay_s=2.5))
        started = desk.start(turn_of("[[n=1]]"), limits(stall_timeout_s=1.5))

        assert isinstance(await started.read_to_the_end(), Finished)

    async def test_end_run_over_maximum_duration(self, desk: RunDesk, stand_in: StandInProcess) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[n=10000]] [[gap=0.01]]"), limits(max_duration_s=0.5))

        error = failure(await started.read_to_the_end())

        assert error.kind is FailureKind.MAX_DURATION
        assert started.text.startswith("tok0 ")
        assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client

    @pytest.mark.parametrize(
        "answer", ["[[n=10000]] [[gap=0.005]]", '[[tool=f:{"x": "aaaaaaaaaaaaaaaa"}]] [[gap=0.05]]']
    )
    async def test_end_answer_over_maximum_output(self, desk: RunDesk, stand_in: StandInProcess, answer: str) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} {answer}"), limits(max_output_chars=10))

        error = failure(await started.read_to_the_end())

        assert error.kind is FailureKind.MAX_OUTPUT
        assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client
        assert desk.free()

    async def test_reject_run_that_waits_too_long_for_slot(self, pool: Pool) -> None:
        desk = RunDesk(pool, slots=1, wait_limit_s=0.1)
        running = desk.start(turn_of("[[n=5]] [[midhang=2]]"))
        await running.read_until(Streamed)
        waiting = desk.start(turn_of("[[n=1]]"))

        error = failure(await waiting.read_to_the_end())

        assert error.kind is FailureKind.QUEUE_TIMEOUT
        assert error.retry_after_s is not None
        assert waiting.kinds() == [Queued, Failed]
        running.run.stop(CancelReason.OPERATOR)
        await running.over()
        assert desk.free()


class TestStops:
    @pytest.mark.parametrize(
        ("cause", "ending"), [(CancelReason.OPERATOR, "cancelled"), (CancelReason.CLIENT_DISCONNECT, "client")]
    )
    async def test_close_upstream_call_and_free_slot_on_stop(
        self, desk: RunDesk, stand_in: StandInProcess, cause: CancelReason, ending: str
    ) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[n=1000]] [[gap=0.01]]"))
        await started.read_until(Streamed)

        stopped_at = time.monotonic()
        started.run.stop(cause)
        started.run.stop(CancelReason.OPERATOR)
        over = await started.over()
        took_s = time.monotonic() - stopped_at

        assert isinstance(over, Cancelled)
        assert over.reason is cause
        assert over.usage.input_tokens > 0
        assert took_s < FREE_WITHIN_S
        assert stand_in.ended(sent, within_s=FREE_WITHIN_S).closed_by_client
        assert desk.free()

    async def test_stop_queued_run_at_once(self, pool: Pool) -> None:
        desk = RunDesk(pool, slots=1)
        running = desk.start(turn_of("[[n=5]] [[midhang=2]]"))
        await running.read_until(Streamed)
        waiting = desk.start(turn_of("[[n=1]]"))
        await eventually_async(lambda: waiting.last(Queued))

        waiting.run.stop(CancelReason.CLIENT_DISCONNECT)

        assert isinstance(await waiting.over(), Cancelled)
        assert waiting.kinds() == [Queued, Cancelled]
        assert not running.task.done()
        running.run.stop(CancelReason.OPERATOR)
        await running.over()

    async def test_start_nothing_after_early_stop(self, desk: RunDesk, stand_in: StandInProcess) -> None:
        sent = mark()
        started = desk.start(turn_of(f"{sent} [[silent]]"))

        started.run.stop(CancelReason.CLIENT_DISCONNECT)

        assert isinstance(await started.over(), Cancelled)
        assert started.last(WorkerReady) is None
        assert not stand_in.recorded(containing=sent)
        assert desk.free()

    async def test_ignore_stop_after_end(self, desk: RunDesk) -> None:
        started = desk.start(turn_of("[[n=1]]"))
        await started.read_to_the_end()

        started.run.stop(CancelReason.CLIENT_DISCONNECT)

        assert isinstance(started.ending, Finished)

    async def test_fail_with_error_of_stop(self, desk: RunDesk) -> None:
        started = desk.start(turn_of("[[n=5]] [[midhang=2]]"))
        await started.read_until(Streamed)
        draining = ProxyError(FailureKind.DRAINING, "going down")

        started.run.stop(draining)

        assert failure(await started.over()) is draining


class TestSlowClients:
    async def test_serve_slow_reader_completely_with_little_memory(self, desk: RunDesk) -> None:
        started = desk.start(turn_of("[[n=20000]]"))
        await eventually_async(lambda: started.run.event_buffer.full, within_s=20)
        waiting = [event for event in started.heard if isinstance(event, Streamed)]
        size = sum(len(event.events) for event in waiting)

        assert size < 20_000, "the whole answer is waiting"
        assert isinstance(await started.read_to_the_end(), Finished)
        assert started.text == "".join(f"tok{number} " for number in range(20_000))

    async def test_free_slot_of_client_that_reads_nothing(self, desk: RunDesk, stand_in: StandInProcess) -> None:
        sent = mark()
        # Its worker may need half a second for the first event.
        started = desk.start(turn_of(f"{sent} [[n=20000]]"), limits(stall_timeout_s=1.5))

        over = await started.over()

        assert isinstance(over, Cancelled)
        assert over.reason is CancelReason.CLIENT_DISCONNECT
        stand_in.ended(sent, within_s=FREE_WITHIN_S)
        assert desk.free()


class BrokenEngine:
    """An engine with a bug, or one that has nothing to offer."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def begin(self, request: EngineRequest) -> Answer:
        raise self._error


class TestFaults:
    async def test_report_bug_as_internal_error_and_free_slot(self, caplog: pytest.LogCaptureFixture) -> None:
        desk = RunDesk(BrokenEngine(RuntimeError("secret detail")))

        error = failure(await desk.start(turn_of("hi")).read_to_the_end())

        assert error.kind is FailureKind.INTERNAL
        assert "secret detail" not in error.message
        assert "secret detail" in caplog.text
        assert desk.free()

    async def test_fail_without_workers(self) -> None:
        desk = RunDesk(BrokenEngine(ProxyError(FailureKind.WORKER_UNAVAILABLE, "none")))

        started = desk.start(turn_of("hi"))

        assert failure(await started.read_to_the_end()).kind is FailureKind.WORKER_UNAVAILABLE
        assert started.kinds() == [Queued, Admitted, Failed]
        assert desk.free()

    async def test_report_stop_at_once_while_waiting_for_a_worker(self, pool: Pool, stand_in: StandInProcess) -> None:
        gate = asyncio.Event()

        class SlowEngine:
            async def begin(self, request: EngineRequest) -> Answer:
                await gate.wait()
                return await pool.begin(request)

        sent = mark()
        desk = RunDesk(SlowEngine())
        started = desk.start(turn_of(f"{sent} [[hang]]"))
        await eventually_async(lambda: started.last(Admitted))

        started.run.stop(CancelReason.CLIENT_DISCONNECT)

        await eventually_async(lambda: started.last(Cancelled), within_s=FREE_WITHIN_S)
        assert not desk.free()
        gate.set()
        await started.over()
        assert desk.free()
        await eventually_async(lambda: all(it.ended_at for it in stand_in.recorded(containing=sent)))
