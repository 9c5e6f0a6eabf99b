"""Rate limit of count_tokens, separate from that of messages."""

from contextlib import suppress

import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.core.limits import LimitError
from apiproxy.limits.count_tokens import DEFAULT_PER_MINUTE, MAX_AT_ONCE, MAX_KEYS, CountLimiter
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counted(limiter: CountLimiter, times: int, *, key: int = 1, per_minute: int | None = None) -> int:
    """Number of sequential counts that were allowed."""
    passed = 0
    for _ in range(times):
        with suppress(LimitError), limiter.counting(key, per_minute):
            passed += 1
    return passed


@pytest.mark.parametrize(("per_minute", "passed"), [(1, 1), (20, 20), (None, DEFAULT_PER_MINUTE)])
def test_limit_counts_to_requests_per_minute(clock: Clock, per_minute: int | None, passed: int) -> None:
    limiter = CountLimiter(monotonic=clock)

    assert counted(limiter, 30 if per_minute else DEFAULT_PER_MINUTE + 5, per_minute=per_minute) == passed
    assert counted(limiter, 5, key=2, per_minute=per_minute) == min(5, passed)


@pytest.mark.parametrize("per_minute", [1, 2, 7, 60])
@pytest.mark.parametrize("first_at_s", [0.0, 31.0, 59.9])
def test_pass_counts_again_after_the_told_wait(clock: Clock, per_minute: int, first_at_s: float) -> None:
    limiter = CountLimiter(monotonic=clock)
    counted(limiter, 1, per_minute=per_minute)
    clock.advance(first_at_s)
    counted(limiter, per_minute + 1, per_minute=per_minute)
    with pytest.raises(LimitError) as caught, limiter.counting(1, per_minute):
        pass
    wait_s = caught.value.retry_after_s
    assert wait_s is not None
    assert caught.value.kind is FailureKind.RATE_LIMITED

    clock.advance(wait_s - 0.01)
    assert counted(limiter, 1, per_minute=per_minute) == 0
    clock.advance(0.02)
    assert counted(limiter, 1, per_minute=per_minute) == 1


def test_never_pass_more_than_the_limit_in_a_steady_minute(clock: Clock) -> None:
    limiter = CountLimiter(monotonic=clock)
    passed_at = []
    for second in range(600):
        if counted(limiter, 1, per_minute=10):
            passed_at.append(second)
        clock.advance(1)

    assert 90 <= len(passed_at) <= 100
    assert max(sum(at <= other < at + 60 for other in passed_at) for at in passed_at) <= 11


def test_limit_counts_of_a_key_at_once(clock: Clock) -> None:
    limiter = CountLimiter(monotonic=clock)
    held = [limiter.counting(1, None) for _ in range(MAX_AT_ONCE)]
    for count in held:
        count.__enter__()

    assert counted(limiter, 1) == 0
    assert counted(limiter, 1, key=2) == 1
    held[0].__exit__(None, None, None)
    assert counted(limiter, 1) == 1


def test_release_a_count_that_failed(clock: Clock) -> None:
    limiter = CountLimiter(monotonic=clock)
    for _ in range(MAX_AT_ONCE + 1):
        with pytest.raises(ValueError, match="x"), limiter.counting(1, None):
            raise ValueError("x")

    assert counted(limiter, 1) == 1


def test_remember_a_bounded_number_of_keys(clock: Clock) -> None:
    limiter = CountLimiter(monotonic=clock)
    for key in range(MAX_KEYS + 50):
        counted(limiter, 1, key=key)

    assert len(limiter._keys) == MAX_KEYS
