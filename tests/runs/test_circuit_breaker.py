"""The circuit breaker opens, and probes the upstream again."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Cancelled, CancelReason, Failed, Finished, WorkerReady
from apiproxy.engines.sdk.pool import Pool
from apiproxy.runs.circuit_breaker import Breaker, BreakerLimits, BreakerState
from tests.support.engine import pool_in
from tests.support.runs import RunDesk, limits, turn_of
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMAT = {"type": "json_schema", "schema": {"type": "object"}}


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


def attempt(breaker: Breaker, *, failed: bool | None, key: int = 1, request: str = "") -> None:
    breaker.leave(breaker.enter(key, request=request), failed=failed)


def is_refused(breaker: Breaker, key: int = 1) -> bool:
    try:
        breaker.check(key)
    except ProxyError as error:
        return error.kind is FailureKind.UPSTREAM_DOWN and (error.retry_after_s or 0) >= 1
    return False


def opened(clock: Clock, *, open_s: float = 10) -> Breaker:
    breaker = breaker_of(clock, open_s=open_s)
    for key in (1, 2, 1):
        attempt(breaker, failed=True, key=key)
    return breaker


async def test_open_breaker_after_n_failures_in_a_row(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for _ in range(2):
        attempt(breaker, failed=True)
    assert not is_refused(breaker)
    attempt(breaker, failed=True)
    assert is_refused(breaker)
    found = breaker.snapshot()
    assert (found.state, found.failures, found.opened, found.retry_after_s) == (BreakerState.OPEN, 3, 1, 10)


async def test_restart_count_after_success(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for failed in (True, True, False, True, True):
        attempt(breaker, failed=failed)
    assert not is_refused(breaker)


async def test_ignore_attempts_that_say_nothing_of_upstream(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for failed in (True, None, True, None, True):
        attempt(breaker, failed=failed)
    assert is_refused(breaker)


async def test_ignore_failures_further_apart_than_window(clock: Clock) -> None:
    breaker = breaker_of(clock, window_s=60)
    for _ in range(20):
        attempt(breaker, failed=True)
        clock.now += 31
    assert not is_refused(breaker)


async def test_when_its_time_is_over_one_attempt_of_a_key_tries(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    assert not is_refused(breaker)
    probe = breaker.enter(1)
    assert probe.probe
    assert breaker.snapshot().state is BreakerState.PROBING
    assert is_refused(breaker)
    breaker.leave(probe, failed=False)
    assert breaker.snapshot().state is BreakerState.CLOSED
    assert breaker.snapshot().failures == 0


async def test_hold_up_only_own_key_during_slow_probe(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    slow = breaker.enter(1)
    clock.now += 1
    assert not is_refused(breaker, 2)
    assert is_refused(breaker, 1)
    clock.now += 9
    assert not is_refused(breaker, 1)
    again = breaker.enter(1)
    breaker.leave(slow, failed=None)
    assert is_refused(breaker, 1), "the second try is under way"
    breaker.leave(again, failed=False)
    assert breaker.snapshot().state is BreakerState.CLOSED


async def test_reject_only_the_one_failing_key(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for _ in range(50):
        if not is_refused(breaker, 1):
            attempt(breaker, failed=True, key=1)
    assert is_refused(breaker, 1)
    assert not is_refused(breaker, 2)
    attempt(breaker, failed=False, key=2)
    assert not is_refused(breaker, 1)


async def test_open_when_second_key_fails_too(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for _ in range(3):
        attempt(breaker, failed=True, key=1)
    attempt(breaker, failed=True, key=2)
    assert all(is_refused(breaker, key) for key in (1, 2, 3))
    assert breaker.snapshot().opened == 1


async def test_ignore_failed_probes_of_one_key_for_others(clock: Clock) -> None:
    breaker = opened(clock)
    for _ in range(5):
        clock.now += 10
        attempt(breaker, failed=True, key=1)
        assert is_refused(breaker, 1)
        assert not is_refused(breaker, 3)
    attempt(breaker, failed=True, key=3)
    assert is_refused(breaker, 4)


async def test_count_attempts_of_request_as_one_failure(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for request in ("a", "a", "a", "b", "b"):
        attempt(breaker, failed=True, request=request)
    assert breaker.snapshot().failures == 2
    assert not is_refused(breaker)


async def test_let_opening_request_keep_its_retry(clock: Clock) -> None:
    breaker = breaker_of(clock)
    for request in ("a", "b", "c"):
        attempt(breaker, failed=True, request=request)
    attempt(breaker, failed=True, request="c")
    with pytest.raises(ProxyError):
        attempt(breaker, failed=True, request="d")


async def test_restart_pause_after_failed_probe(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    attempt(breaker, failed=True)
    assert is_refused(breaker)
    assert breaker.snapshot().opened == 1
    clock.now += 10
    assert not is_refused(breaker)


async def test_leave_probe_without_verdict_to_next_one(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    attempt(breaker, failed=None)
    assert breaker.enter().probe


async def test_close_breaker_by_older_success_but_not_reopen(clock: Clock) -> None:
    breaker = breaker_of(clock)
    early = [breaker.enter(key) for key in range(5)]
    clock.now += 1
    for old in early[:3]:
        breaker.leave(old, failed=True)
    clock.now += 10
    probe = breaker.enter(1)
    breaker.leave(early[4], failed=True)
    assert breaker.snapshot().state is BreakerState.PROBING
    breaker.leave(early[3], failed=False)
    assert breaker.snapshot().state is BreakerState.CLOSED
    breaker.leave(probe, failed=None)
    assert not is_refused(breaker)


async def test_with_no_number_of_failures_it_never_opens(clock: Clock) -> None:
    breaker = breaker_of(clock, failures=0)
    for _ in range(1_000):
        attempt(breaker, failed=True)
    assert not is_refused(breaker)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([True, False, None]), st.integers(0, 20)), max_size=60))
async def test_never_reject_longer_than_limit(steps: Sequence[tuple[int, bool | None, int]]) -> None:
    clock = Clock()
    breaker = breaker_of(clock)
    for key, failed, pause_s in steps:
        if not is_refused(breaker, key):
            attempt(breaker, failed=failed, key=key)
        assert breaker.snapshot().retry_after_s <= 10
        clock.now += pause_s
    clock.now += 10
    assert not any(is_refused(breaker, key) for key in (1, 2, 3))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60))
async def test_never_let_one_key_block_another(steps: Sequence[tuple[bool, int]]) -> None:
    clock = Clock()
    breaker = breaker_of(clock)
    held = []
    for leaves, pause_s in steps:
        if not is_refused(breaker, 1):
            held.append(breaker.enter(1))
        if leaves and held:
            breaker.leave(held.pop(), failed=True)
        assert not is_refused(breaker, 2)
        clock.now += pause_s


# Runs on the real engine: which attempts count as failures of the upstream.


@pytest.mark.parametrize(
    ("prompt", "failures"),
    [
        ("[[status=500]]", 1), ("[[status=503]]", 1), ("[[status=529]]", 1), ("[[drop]]", 1), ("[[miderror=0]]", 0),
        ("[[status=400]]", 0), ("[[status=401]]", 0), ("[[status=429]]", 0), ("[[n=2]]", 0),
        ("[[n=9]] [[gap=0.1]] [[cut=2]]", 0), ("[[status=404]]", 0),
    ],
)  # fmt: skip
async def test_count_only_server_errors_and_lost_connections(
    pool: Pool, clock: Clock, prompt: str, failures: int
) -> None:
    breaker = breaker_of(clock)
    desk = RunDesk(pool, breaker=breaker)
    await desk.start(turn_of(prompt), limits(upstream_retries=0)).over()
    assert breaker.snapshot().failures == failures


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": {"a": 1}},
        {"output_format": FORMAT, "output_config": {"format": FORMAT}},
        {"messages": [None]},
    ],
)
async def test_count_unsent_attempt_as_no_failure(
    pool: Pool, clock: Clock, stand_in: StandInProcess, fields: dict[str, Any]
) -> None:
    """The dialects refuse these; the CLI would throw before it sends them."""
    breaker = breaker_of(clock)
    before = stand_in.mark()
    ending = await RunDesk(pool, breaker=breaker).start(turn_of("[[n=1]]", **fields)).over()
    assert isinstance(ending, Failed)
    assert ending.error.kind is FailureKind.INVALID_REQUEST
    assert breaker.snapshot().failures == 0
    assert stand_in.recorded(since=before) == []


async def test_close_breaker_after_next_success(pool: Pool, clock: Clock) -> None:
    breaker = opened(clock)
    desk = RunDesk(pool, breaker=breaker)
    rejected = desk.start(turn_of("[[n=1]]"))
    ending = await rejected.over()
    assert isinstance(ending, Failed)
    assert ending.error.kind is FailureKind.UPSTREAM_DOWN
    assert rejected.last(WorkerReady) is None
    clock.now += 10
    assert isinstance(await desk.start(turn_of("[[n=1]]")).over(), Finished)
    assert breaker.snapshot().state is BreakerState.CLOSED


async def test_pass_probe_on_when_its_client_leaves(pool: Pool, clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    started = RunDesk(pool, breaker=breaker).start(turn_of("[[silent]]"))
    await eventually_async(lambda: started.last(WorkerReady) is not None)
    assert breaker.snapshot().state is BreakerState.PROBING
    started.run.stop(CancelReason.CLIENT_DISCONNECT)
    assert isinstance(await started.over(), Cancelled)
    assert breaker.snapshot().state is BreakerState.OPEN
    assert not is_refused(breaker)


async def test_pass_probe_on_without_worker(clock: Clock, tmp_path: Path) -> None:
    cli = tmp_path / "cli"
    cli.write_text("#!/bin/sh\nexit 1\n")
    cli.chmod(0o755)
    breaker = opened(clock)
    clock.now += 10
    pool = pool_in(tmp_path / "workers", upstream="http://127.0.0.1:9", cli=cli)
    try:
        ending = await RunDesk(pool, breaker=breaker).start(turn_of("[[n=1]]")).over()
    finally:
        await pool.close()
    assert isinstance(ending, Failed)
    assert ending.error.kind is FailureKind.WORKER_UNAVAILABLE
    assert not is_refused(breaker)


async def test_leave_an_attempt_that_crashed_without_a_verdict(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 10
    with contextlib.suppress(ValueError), breaker.attempt(1):
        assert is_refused(breaker), "the probe is under way"
        raise ValueError("crash")
    assert breaker.snapshot().state is BreakerState.OPEN
    assert not is_refused(breaker)


async def test_count_the_first_report_of_an_attempt_only(clock: Clock) -> None:
    breaker = breaker_of(clock, failures=1)
    with breaker.attempt(1) as one:
        breaker.leave(one, failed=False)
        breaker.leave(one, failed=True)
    assert breaker.snapshot().failures == 0
    with breaker.attempt(1) as other:
        breaker.leave(other, failed=True)
    assert breaker.snapshot().state is BreakerState.OPEN
