"""When the upstream is given up, and when it is asked again."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.breaker import Breaker, BreakerLimits, BreakerState, Guarded
from apiproxy.engine.base import EngineRequest
from apiproxy.engine.pool import Pool
from apiproxy.errors import FailureKind, ProxyError
from tests.support.engine import engine_request, finish, pool_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker_of(clock: Clock, *, failures: int = 3, window_s: float = 60, open_s: float = 10) -> Breaker:
    return Breaker(BreakerLimits(failures=failures, window_s=window_s, open_s=open_s), clock=clock)


def attempt(breaker: Breaker, *, failed: bool | None) -> None:
    breaker.leave(probe=breaker.enter(), failed=failed)


def is_refused(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except ProxyError as error:
        return error.kind is FailureKind.UPSTREAM_DOWN and (error.retry_after_s or 0) >= 1
    return False


def opened(clock: Clock, *, open_s: float = 10) -> Breaker:
    breaker = breaker_of(clock, open_s=open_s)
    for _ in range(3):
        attempt(breaker, failed=True)
    return breaker


async def test_so_many_failures_in_a_row_give_the_upstream_up_and_fewer_do_not(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for _ in range(2):
        attempt(breaker, failed=True)
    assert not is_refused(breaker)
    attempt(breaker, failed=True)
    assert is_refused(breaker)
    found = breaker.snapshot()
    assert (found.state, found.failures, found.opened, found.retry_after_s) == (BreakerState.OPEN, 3, 1, 10)


async def test_a_success_between_them_begins_the_count_anew(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for failed in (True, True, False, True, True):
        attempt(breaker, failed=failed)
    assert not is_refused(breaker)


async def test_what_says_nothing_of_the_upstream_does_not_count_either_way(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for failed in (True, None, True, None, True):
        attempt(breaker, failed=failed)
    assert is_refused(breaker)


async def test_failures_that_are_longer_apart_than_the_window_do_not_count_together(clock: Clock) -> None:
    breaker = breaker_of(clock, window_s=60)
    for _ in range(20):
        attempt(breaker, failed=True)
        clock.now += 31
    assert not is_refused(breaker)


async def test_when_its_time_is_over_one_attempt_tries_and_the_others_are_still_refused(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    assert not is_refused(breaker)
    probe = breaker.enter()
    assert probe
    assert breaker.snapshot().state is BreakerState.PROBING
    with pytest.raises(ProxyError):
        breaker.enter()
    breaker.leave(probe=probe, failed=False)
    assert breaker.snapshot().state is BreakerState.CLOSED
    assert breaker.snapshot().failures == 0


async def test_a_try_that_fails_makes_it_wait_again_and_is_not_given_up_twice(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    attempt(breaker, failed=True)
    assert is_refused(breaker)
    assert breaker.snapshot().opened == 1
    clock.now += 10
    assert not is_refused(breaker)


async def test_a_try_that_says_nothing_leaves_the_next_one_to_try(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    attempt(breaker, failed=None)
    assert breaker.enter()


async def test_what_began_before_it_was_given_up_neither_closes_it_nor_takes_the_try_away(clock: Clock) -> None:
    breaker = breaker_of(clock)
    early = [breaker.enter() for _ in range(5)]
    for probe in early[:3]:
        breaker.leave(probe=probe, failed=True)
    clock.now += 10
    probe = breaker.enter()
    breaker.leave(probe=early[3], failed=False)
    breaker.leave(probe=early[4], failed=True)
    assert breaker.snapshot().state is BreakerState.PROBING
    breaker.leave(probe=probe, failed=False)
    assert breaker.snapshot().state is BreakerState.CLOSED


async def test_with_no_number_of_failures_it_never_opens(clock: Clock) -> None:
    breaker = breaker_of(clock, failures=0)
    for _ in range(1_000):
        attempt(breaker, failed=True)
    assert not is_refused(breaker)


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.integers(0, 20)), max_size=60))
async def test_whatever_happens_it_never_refuses_for_longer_than_its_time(
    steps: Sequence[tuple[bool | None, int]],
) -> None:
    clock = Clock()
    breaker = breaker_of(clock)
    for failed, pause_s in steps:
        if not is_refused(breaker):
            attempt(breaker, failed=failed)
        assert breaker.snapshot().retry_after_s <= 10
        clock.now += pause_s
    clock.now += 10
    assert not is_refused(breaker)


# With the real engine: what an attempt says of the upstream.


@pytest.mark.parametrize(
    ("prompt", "failures"),
    [
        ("[[status=500]]", 1), ("[[status=503]]", 1), ("[[status=529]]", 1), ("[[drop]]", 1), ("[[miderror=0]]", 0),
        ("[[status=400]]", 0), ("[[status=401]]", 0), ("[[status=429]]", 0), ("[[n=2]]", 0),
        ("[[n=9]] [[gap=0.1]] [[cut=2]]", 0),
    ],
)  # fmt: skip
async def test_an_attempt_fails_by_server_errors_and_lost_connections_alone(
    pool: Pool, clock: Clock, prompt: str, failures: int
) -> None:
    breaker = breaker_of(clock)
    await play_guarded(Guarded(pool, breaker), engine_request(prompt))
    assert breaker.snapshot().failures == failures


async def test_a_refusal_costs_no_worker_and_the_next_success_closes_it(pool: Pool, clock: Clock) -> None:
    breaker = opened(clock)
    engine = Guarded(pool, breaker)
    with pytest.raises(ProxyError) as refused:
        await engine.begin(engine_request("[[n=1]]"))
    assert refused.value.kind is FailureKind.UPSTREAM_DOWN
    clock.now += 10
    await play_guarded(engine, engine_request("[[n=1]]"))
    assert breaker.snapshot().state is BreakerState.CLOSED


async def test_a_try_whose_client_leaves_is_left_to_the_next(pool: Pool, clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    answer = await Guarded(pool, breaker).begin(engine_request("[[silent]]"))
    assert breaker.snapshot().state is BreakerState.PROBING
    answer.stop()
    await finish(answer)
    assert breaker.snapshot().state is BreakerState.OPEN
    assert not is_refused(breaker)


async def test_a_try_without_a_worker_is_left_to_the_next(clock: Clock, tmp_path: Path) -> None:
    cli = tmp_path / "cli"
    cli.write_text("#!/bin/sh\nexit 1\n")
    cli.chmod(0o755)
    breaker = opened(clock)
    clock.now += 10
    pool = pool_in(tmp_path / "workers", upstream="http://127.0.0.1:9", cli=cli)
    try:
        with pytest.raises(ProxyError):
            await Guarded(pool, breaker).begin(engine_request("[[n=1]]"))
    finally:
        await pool.close()
    assert not is_refused(breaker)


async def play_guarded(engine: Guarded, request: EngineRequest) -> None:
    await finish(await engine.begin(request))
