"""A request that ends in an error is sent upstream once, for every error and any `max_tokens`."""

import pytest

from apiproxy.core.errors import FailureKind, UpstreamError
from apiproxy.engines.base import Broken
from apiproxy.engines.sdk.pool import Pool
from tests.contract.conftest import StartCli, body
from tests.contract.test_failures import STATUSES, sentinel
from tests.support.engine import engine_request, play
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

MAX_TOKENS = (1_000, 100_000)
"""The CLI's own limit is 32,000: above it, errors were asked for twice."""
REVOKED = "OAuth token has been revoked"


async def asked(pool: Pool, stand_in: StandInProcess, mark: str) -> list[int]:
    """The `max_tokens` of the calls that hold the mark, once another turn has been answered after them."""
    await play(pool, engine_request("[[n=1]]"))
    return [exchange.body["max_tokens"] for exchange in stand_in.recorded(containing=mark)]


@pytest.mark.parametrize("max_tokens", MAX_TOKENS)
@pytest.mark.parametrize(("status", "kind"), {**STATUSES, 502: "api_error", 504: "timeout_error"}.items())
async def test_ask_once_for_an_error(
    pool: Pool, stand_in: StandInProcess, status: int, kind: str, max_tokens: int
) -> None:
    mark = sentinel()
    prompt = f"{mark} [[status={status}]] [[message=model: {mark}]] [[retry_after=0]]"

    played = await play(pool, engine_request(prompt, max_tokens=max_tokens))

    assert isinstance(played.outcome, Broken)
    error = played.outcome.error
    assert (error.upstream, error.message) == (UpstreamError(status=status, type=kind), f"model: {mark}")
    assert await asked(pool, stand_in, mark) == [max_tokens]


@pytest.mark.parametrize("max_tokens", MAX_TOKENS)
@pytest.mark.parametrize("fault", ["[[drop]]", "[[n=9]] [[cut=2]]", "[[miderror=2]]", "[[garbage=2]]", "[[page]]"])
async def test_ask_once_for_a_broken_stream(pool: Pool, stand_in: StandInProcess, fault: str, max_tokens: int) -> None:
    mark = sentinel()

    played = await play(pool, engine_request(f"{mark} {fault}", max_tokens=max_tokens))

    assert isinstance(played.outcome, Broken)
    assert await asked(pool, stand_in, mark) == [max_tokens]


@pytest.mark.parametrize("form", ["[[html]]", "[[bare]]"])
async def test_ask_once_for_a_404_without_an_error_object(pool: Pool, stand_in: StandInProcess, form: str) -> None:
    mark = sentinel()

    played = await play(pool, engine_request(f"{mark} [[status=404]] {form}"))

    assert isinstance(played.outcome, Broken)
    assert played.outcome.error.upstream == UpstreamError(status=404, type="not_found_error")
    assert await asked(pool, stand_in, mark) == [100]


async def test_ask_once_for_a_revoked_token(pool: Pool, stand_in: StandInProcess) -> None:
    mark = sentinel()

    played = await play(pool, engine_request(f"{mark} [[status=403]] [[message={REVOKED}]]"))

    assert isinstance(played.outcome, Broken)
    assert (played.outcome.error.kind, played.outcome.error.message) == (FailureKind.UPSTREAM_ERROR, REVOKED)
    assert await asked(pool, stand_in, mark) == [100]


async def test_ask_once_for_404s_of_warm_workers(pool: Pool, stand_in: StandInProcess) -> None:
    """A CLI that has failed so before asks again within 2 ms, so the loop's own speed would not do."""
    for _ in range(10):
        mark = sentinel()
        for _ in range(2):
            await play(pool, engine_request("[[n=1]]"))
        await play(pool, engine_request(f"{mark} [[status=404]]"))
        assert await asked(pool, stand_in, mark) == [100]


async def test_without_its_switch_the_cli_asks_twice(start_cli: StartCli, stand_in: StandInProcess) -> None:
    mark = sentinel()
    cli = start_cli(env={"CLAUDE_CODE_MAX_OUTPUT_TOKENS": None})
    cli.overlay(body(f"{mark} [[status=400]]", max_tokens=100_000))

    cli.say()

    eventually(lambda: len(stand_in.recorded(containing=mark)) == 2, within_s=15)
