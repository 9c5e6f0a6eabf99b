"""Runs on the http engine: retries, charges, limits, and the memory of the body."""

import sys
import time
from dataclasses import replace

import orjson
import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Cancelled, CancelReason, Failed, Finished
from apiproxy.core.turns import RawBody, Turn
from tests.support.engine import mark
from tests.support.http_engine import http_engine
from tests.support.raw_upstream import START, STREAM_HEAD, Connection, raw_upstream
from tests.support.runs import ESTIMATED, RunDesk, limits, turn_of
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.asyncio


def http_turn(prompt: str, *, stream: bool = True) -> Turn:
    turn = turn_of(prompt, stream=stream)
    return replace(turn, engine="http", stream=stream, verbatim=True, raw_body=RawBody(orjson.dumps(turn.body)))


@pytest.mark.parametrize("fault", ["drop", "529", "500"])
@pytest.mark.parametrize("stream", [True, False])
async def test_retry_before_first_byte(stand_in: StandInProcess, fault: str, *, stream: bool) -> None:
    async with http_engine(stand_in.base_url) as engine:
        desk = RunDesk(engine)
        run = desk.start(http_turn(f"[[flaky={mark()}:1:{fault}]] [[say=hi]] [[in=3]]", stream=stream))
        ending = await run.read_to_the_end()

    assert isinstance(ending, Finished)
    assert ending.usage.input_tokens == 3 + (ESTIMATED if fault == "drop" else 0)
    assert desk.free()


async def test_charge_nothing_for_refused_connection() -> None:
    async def play(connection: Connection) -> None: ...

    async with raw_upstream(play) as upstream:
        pass
    async with http_engine(upstream.base_url) as engine:
        ending = await RunDesk(engine).start(http_turn("a")).read_to_the_end()

    assert isinstance(ending, Failed)
    assert (ending.error.kind, ending.usage.input_tokens) == (FailureKind.CONNECTION_LOST, 0)


async def test_free_body_once_answer_begins() -> None:
    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(START)
        await connection.left()

    turn = http_turn("a")
    raw = turn.raw_body
    assert raw is not None
    body = raw.data = raw.data[:-1] + b',"x":"' + b"y" * 2_000_000 + b'"}'
    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        run = RunDesk(engine).start(turn)
        await run.read_until()
        references = sys.getrefcount(body)  # of this test and of the call; a view of the body would be one too
        run.run.stop(CancelReason.OPERATOR)
        ending = await run.over()

    assert upstream.connections[0].bodies == [body]
    assert references == 2
    assert isinstance(ending, Cancelled)


async def test_fail_whole_answer_above_output_limit(stand_in: StandInProcess) -> None:
    async with http_engine(stand_in.base_url) as engine:
        turn = http_turn("[[huge=1000]] [[out=400]]", stream=False)
        run = RunDesk(engine).start(turn, limits(max_output_chars=999))
        ending = await run.over()

    assert isinstance(ending, Failed)
    assert (ending.error.kind, ending.usage.output_tokens) == (FailureKind.MAX_OUTPUT, 400)


@pytest.mark.parametrize("prompt", ["[[silent]]", "[[headers]]", "[[hang]]"])
async def test_end_stalled_stream_and_close_upstream_call(stand_in: StandInProcess, prompt: str) -> None:
    text = mark()
    async with http_engine(stand_in.base_url) as engine:
        desk = RunDesk(engine)
        begun = time.monotonic()
        ending = await desk.start(http_turn(f"{text} {prompt}"), limits(stall_timeout_s=0.4)).read_to_the_end()

    assert time.monotonic() - begun < 3
    assert isinstance(ending, Failed)
    assert ending.error.kind is FailureKind.STALL
    assert stand_in.ended(text).closed_by_client
    assert desk.free()


async def test_whole_answer_does_not_stall(stand_in: StandInProcess) -> None:
    async with http_engine(stand_in.base_url) as engine:
        turn = http_turn("[[first=1]] [[say=hi]]", stream=False)
        ending = await RunDesk(engine).start(turn, limits(stall_timeout_s=0.2)).read_to_the_end()

    assert isinstance(ending, Finished)
