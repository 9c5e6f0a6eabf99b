"""Charges of a run: one that was sent upstream is never free, one that was not always is."""

import asyncio
from pathlib import Path

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Cancelled, CancelReason, Failed, Finished, Streamed, Usage
from apiproxy.engines.base import Answer, Batch, EngineRequest
from apiproxy.engines.sdk.pool import Pool
from tests.support.engine import mark, pool_in
from tests.support.runs import ESTIMATED, RunDesk, limits, turn_of
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

SILENT = ["[[silent]]", "[[headers]]", "[[first=20]]"]


@pytest.fixture
def desk(pool: Pool) -> RunDesk:
    return RunDesk(pool)


class HeldEngine:
    """The real pool, whose workers are there when the test says so."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.asked = asyncio.Event()
        self.free = asyncio.Event()

    async def begin(self, request: EngineRequest) -> Answer:
        self.asked.set()
        await self.free.wait()
        return await self._pool.begin(request)


class FaultyAnswer:
    """The real answer, until the gateway itself fails at what comes."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.pid = answer.pid
        self.release = answer.release
        self.stop = answer.stop

    async def next_batch(self) -> Batch | None:
        if await self._answer.next_batch() is None:
            return None
        raise ZeroDivisionError


class FaultyEngine:
    """The real pool with a fault of ours in each answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, request: EngineRequest) -> FaultyAnswer:
        return FaultyAnswer(await self._pool.begin(request))


async def test_charge_the_input_of_a_turn_that_we_failed(pool: Pool) -> None:
    ending = await RunDesk(FaultyEngine(pool)).start(turn_of("[[n=1]]")).read_to_the_end()  # type: ignore[arg-type]
    assert isinstance(ending, Failed)
    assert ending.error.kind is FailureKind.INTERNAL
    assert (ending.usage.input_tokens, ending.usage.estimated) == (ESTIMATED, True)
    assert ending.usage.cost_usd is not None


@pytest.mark.parametrize("prompt", SILENT)
async def test_charge_the_input_of_a_turn_cancelled_early(desk: RunDesk, stand_in: StandInProcess, prompt: str) -> None:
    sent = mark()
    started = desk.start(turn_of(f"{sent} {prompt}"))
    await eventually_async(lambda: stand_in.recorded(containing=sent))
    started.run.stop(CancelReason.CLIENT_DISCONNECT)
    ending = await started.over()
    assert isinstance(ending, Cancelled)
    assert (ending.usage.input_tokens, ending.usage.estimated) == (ESTIMATED, True)
    assert ending.usage.cost_usd is not None


async def test_charge_the_input_of_a_turn_that_stalled(desk: RunDesk) -> None:
    started = desk.start(turn_of("[[silent]]"), limits(stall_timeout_s=1.5))
    ending = await started.read_to_the_end()
    assert isinstance(ending, Failed)
    assert ending.error.kind is FailureKind.STALL
    assert (ending.usage.input_tokens, ending.usage.estimated) == (ESTIMATED, True)


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (2, 3)])
async def test_charge_every_attempt_whose_connection_broke(desk: RunDesk, retries: int, attempts: int) -> None:
    ending = await desk.start(turn_of("[[drop]]"), limits(upstream_retries=retries)).read_to_the_end()
    assert isinstance(ending, Failed)
    assert ending.usage.input_tokens == attempts * ESTIMATED


async def test_charge_the_attempt_before_the_one_answered(desk: RunDesk) -> None:
    ending = await desk.start(turn_of(f"[[flaky={mark()}:1:drop]] [[in=7]] [[n=1]]")).read_to_the_end()
    assert isinstance(ending, Finished)
    assert (ending.usage.input_tokens, ending.usage.estimated) == (7 + ESTIMATED, True)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
async def test_charge_nothing_for_what_the_upstream_refused(desk: RunDesk, status: int) -> None:
    ending = await desk.start(turn_of(f"[[status={status}]]")).read_to_the_end()
    assert isinstance(ending, Failed)
    assert ending.usage.prompt_tokens == ending.usage.output_tokens == 0


async def test_charge_nothing_without_a_connection(tmp_path: Path) -> None:
    unreachable = pool_in(tmp_path, upstream="http://127.0.0.1:9")
    try:
        ending = await RunDesk(unreachable).start(turn_of("hi")).read_to_the_end()
    finally:
        await unreachable.close()
    assert isinstance(ending, Failed)
    assert ending.error.kind is FailureKind.CONNECTION_LOST
    assert ending.usage.prompt_tokens == 0


async def test_charge_nothing_before_the_upstream_is_asked(pool: Pool, stand_in: StandInProcess) -> None:
    engine, sent = HeldEngine(pool), mark()
    started = RunDesk(engine).start(turn_of(f"{sent} [[n=1]]"))
    await engine.asked.wait()
    started.run.stop(CancelReason.CLIENT_DISCONNECT)
    engine.free.set()
    assert (await started.over()).usage == Usage()
    assert stand_in.recorded(containing=sent) == []


@pytest.mark.parametrize("usage", ["null", "{}", '{"input_tokens": 0}', '{"input_tokens": "x", "output_tokens": []}'])
async def test_charge_the_estimate_where_no_usage_is_told(desk: RunDesk, usage: str) -> None:
    ending = await desk.start(turn_of(f"[[say=twenty characters....]] [[usage={usage}]]")).read_to_the_end()
    assert isinstance(ending, Finished)
    assert (ending.usage.input_tokens, ending.usage.output_tokens) == (ESTIMATED, 11)
    assert ending.usage.estimated


async def test_charge_the_larger_of_absurd_usage_and_estimate(desk: RunDesk) -> None:
    ending = await desk.start(
        turn_of('[[n=1]] [[usage={"input_tokens": 5000, "output_tokens": -1}]]')
    ).read_to_the_end()
    assert isinstance(ending, Finished)
    assert (ending.usage.input_tokens, ending.usage.estimated) == (5000, True)
    assert ending.usage.output_tokens > 0


@pytest.mark.parametrize(("text", "tokens"), [("word " * 8, 20), ("\U0001f600" * 10, 20), ("x" * 4000, 100)])
async def test_charge_the_output_of_a_turn_cut_off(desk: RunDesk, text: str, tokens: int) -> None:
    started = desk.start(turn_of(f"[[say={text}]] [[in=9]] [[n=0]] [[midhang={1 if ' ' not in text else 8}]]"))
    while len(started.text) < len(text.rstrip()):
        await started.read_until(Streamed)
    started.run.stop(ProxyError(FailureKind.STALL, "enough"))
    ending = await started.over()
    assert isinstance(ending, Failed)
    assert (ending.usage.input_tokens, ending.usage.output_tokens) == (9, tokens)
