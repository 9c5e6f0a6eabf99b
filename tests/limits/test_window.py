"""Limits per minute, by value and by property: they hold in any 60 seconds, and waits are exact."""

from hypothesis import given
from hypothesis import strategies as st

from apiproxy.limits.window import (
    WINDOW_MS,
    WindowEntry,
    requests_gauge,
    requests_wait_ms,
    tokens_gauge,
    tokens_wait_ms,
)

NOW = 1_800_000_000_000
GAPS = st.lists(st.integers(0, 2 * WINDOW_MS), max_size=60)
LIMITS = st.integers(1, 8)


def admitted(gaps: list[int], limit: int) -> list[int]:
    """Times at which requests with these gaps were allowed."""
    entries: list[WindowEntry] = []
    now = NOW
    for gap in gaps:
        now += gap
        if requests_wait_ms(entries, limit=limit, now_ms=now) == 0:
            entries.append(WindowEntry(at_ms=now))
    return [entry.at_ms for entry in entries]


@given(GAPS, LIMITS)
def test_never_admit_more_requests_a_minute_than_allowed(gaps: list[int], limit: int) -> None:
    times = admitted(gaps, limit)
    for begin in times:
        assert sum(begin <= time < begin + WINDOW_MS for time in times) <= limit


@given(GAPS, LIMITS)
def test_accept_request_exactly_at_retry_after(gaps: list[int], limit: int) -> None:
    entries = [WindowEntry(at_ms=time) for time in admitted(gaps, limit)]
    now = max((entry.at_ms for entry in entries), default=NOW)
    wait = requests_wait_ms(entries, limit=limit, now_ms=now)
    assert 0 <= wait <= WINDOW_MS
    assert requests_wait_ms(entries, limit=limit, now_ms=now + wait) == 0
    if wait:
        assert requests_wait_ms(entries, limit=limit, now_ms=now + wait - 1) == 1


@given(GAPS, LIMITS)
def test_agree_between_gauge_and_wait(gaps: list[int], limit: int) -> None:
    entries = [WindowEntry(at_ms=time) for time in admitted(gaps, limit)]
    now = max((entry.at_ms for entry in entries), default=NOW)
    gauge = requests_gauge(entries, limit=limit, now_ms=now)
    assert (gauge.remaining > 0) is (requests_wait_ms(entries, limit=limit, now_ms=now) == 0)
    assert requests_gauge(entries, limit=limit, now_ms=gauge.full_at_ms).remaining == limit
    if entries:
        assert requests_gauge(entries, limit=limit, now_ms=gauge.full_at_ms - 1).remaining < limit


RUNS = st.lists(
    st.tuples(st.integers(0, WINDOW_MS), st.integers(0, 3 * WINDOW_MS), st.integers(1, 100), st.integers(0, 100)),
    max_size=40,
)


@given(RUNS, st.integers(1, 300))
def test_never_admit_more_tokens_a_minute_than_allowed(runs: list[tuple[int, int, int, int]], limit: int) -> None:
    """Each run: gap before it, duration, reserved tokens, and the used percentage of them."""
    taken: list[tuple[int, int, int, int]] = []  # begin, end, reserved, used
    now = NOW
    for gap, duration, reserved, percent in runs:
        now += gap
        entries = [
            WindowEntry(at_ms=begin, tokens=used if end <= now else wanted, settled_ms=end if end <= now else None)
            for begin, end, wanted, used in taken
        ]
        if tokens_wait_ms(entries, limit=limit, wanted=reserved, now_ms=now) == 0:
            taken.append((now, now + duration, reserved, reserved * percent // 100))
    # Whenever within its run a token was used: all at the beginning, or all at the end.
    for moment in (0, 1):
        for run in taken:
            since = run[moment]
            within = [other[3] for other in taken if since <= other[moment] < since + WINDOW_MS]
            assert sum(within) <= limit


@given(RUNS, st.integers(1, 300), st.integers(1, 300))
def test_tell_exact_wait_for_tokens_after_all_runs(
    runs: list[tuple[int, int, int, int]], limit: int, wanted: int
) -> None:
    entries, now = [], NOW
    for gap, _, tokens, _ in runs:
        now += gap
        entries.append(WindowEntry(at_ms=now, tokens=tokens, settled_ms=now))
    wait = tokens_wait_ms(entries, limit=limit, wanted=wanted, now_ms=now)
    if wait is None:
        assert wanted > limit
    else:
        assert tokens_wait_ms(entries, limit=limit, wanted=wanted, now_ms=now + wait) == 0
        assert not wait or tokens_wait_ms(entries, limit=limit, wanted=wanted, now_ms=now + wait - 1) == 1


def test_release_reservation_at_any_time() -> None:
    running = [WindowEntry(at_ms=NOW, tokens=80)]
    assert tokens_wait_ms(running, limit=100, wanted=30, now_ms=NOW + 10 * WINDOW_MS) is None
    assert tokens_gauge(running, limit=100, now_ms=NOW).remaining == 20


def test_count_requests_from_start_and_tokens_after_end() -> None:
    long_ago = [WindowEntry(at_ms=NOW - 5 * WINDOW_MS, tokens=70, settled_ms=NOW - 1)]
    assert requests_gauge(long_ago, limit=1, now_ms=NOW).remaining == 1
    assert tokens_gauge(long_ago, limit=100, now_ms=NOW).remaining == 30
    assert tokens_wait_ms(long_ago, limit=100, wanted=31, now_ms=NOW) == WINDOW_MS - 1
