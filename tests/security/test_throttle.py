"""Guessing is slow, and affects only the guessing address."""

import pytest

from apiproxy.keys import login_throttle
from apiproxy.keys.login_throttle import Throttle, network_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Throttle:
    return Throttle(burst=3, every_s=10, monotonic=clock)


def fail(guesses: Throttle, address: str, times: int = 3) -> None:
    for _ in range(times):
        assert guesses.wait_s(address, "wrong") == 0
        guesses.failed(address)


def test_after_a_burst_of_failures_there_is_one_now_and_then(guesses: Throttle, clock: Clock) -> None:
    fail(guesses, "198.51.100.1")
    assert guesses.wait_s("198.51.100.1", "wrong") == 10
    clock.now = 9.0
    assert guesses.wait_s("198.51.100.1", "wrong") == pytest.approx(1.0)
    clock.now = 10.0
    fail(guesses, "198.51.100.1", times=1)
    assert guesses.wait_s("198.51.100.1", "wrong") == pytest.approx(10)


def test_never_lock_address_out_for_good(guesses: Throttle, clock: Clock) -> None:
    fail(guesses, "198.51.100.1")
    for _ in range(1_000):
        guesses.failed("198.51.100.1")
    clock.now = 10.0
    assert guesses.wait_s("198.51.100.1", "wrong") == 0


def test_other_addresses_do_not_notice(guesses: Throttle) -> None:
    fail(guesses, "198.51.100.1")
    assert guesses.wait_s("198.51.100.2", "wrong") == 0


def test_keep_address_with_successes_working(guesses: Throttle) -> None:
    guesses.succeeded("198.51.100.1", "good")
    fail(guesses, "198.51.100.1")
    assert guesses.wait_s("198.51.100.1", "good") == 0
    assert guesses.wait_s("198.51.100.1", "another") > 0


def test_count_successes_elsewhere_not_for_attacker(guesses: Throttle) -> None:
    guesses.succeeded("198.51.100.2", "good")
    fail(guesses, "198.51.100.1")
    assert guesses.wait_s("198.51.100.1", "good") > 0


def test_treat_ipv6_network_as_one_address(guesses: Throttle) -> None:
    fail(guesses, "2001:db8::1")
    assert guesses.wait_s("2001:db8::ffff:1", "wrong") > 0
    assert guesses.wait_s("2001:db8:0:1::1", "wrong") == 0
    assert network_of("unix:/run/x") == "unix:/run/x"


def test_bound_memory_for_flood_of_addresses(guesses: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_throttle, "MAX_ADDRESSES", 10)
    monkeypatch.setattr(login_throttle, "MAX_PROVEN", 10)
    for number in range(100):
        guesses.failed(f"198.51.100.{number}")
        guesses.succeeded(f"198.51.100.{number}", "good")
    assert len(guesses._buckets) == len(guesses._proven) == 10
