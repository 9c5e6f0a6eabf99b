"""Full garbage collections of a server process."""

import gc
import platform

import psutil
import pytest

from apiproxy.server.garbage import (
    MAX_INTERVAL_S,
    QUIET_INTERVAL_S,
    QUIET_RUNS,
    GarbageCollector,
    return_free_memory,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("runs", "after_s", "due"),
    [
        (0, QUIET_INTERVAL_S - 1, False),
        (QUIET_RUNS, QUIET_INTERVAL_S, True),
        (QUIET_RUNS + 1, QUIET_INTERVAL_S, False),
        (QUIET_RUNS + 1, MAX_INTERVAL_S, True),
    ],
)
def test_collect_when_quiet_or_overdue(runs: int, after_s: float, *, due: bool) -> None:
    clock = Clock()
    collector = GarbageCollector(lambda: runs, clock=clock)

    clock.now = after_s

    assert collector.is_due() == due


async def test_make_no_full_collections_by_itself() -> None:
    before = gc.get_threshold()
    collector = GarbageCollector(lambda: 0)
    await collector.start()
    try:
        made = gc.get_stats()[2]["collections"]
        kept: list[list[dict[str, str]]] = [[{}] for _ in range(300_000)]
        assert gc.get_stats()[2]["collections"] == made
        assert len(kept) == 300_000
    finally:
        await collector.stop()
        gc.unfreeze()

    assert gc.get_threshold() == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no malloc_trim")
def test_return_pages_between_live_blocks() -> None:
    process = psutil.Process()
    blocks = [bytes(2_000) for _ in range(50_000)]
    del blocks[::2], blocks[::2], blocks[::2], blocks[::2]  # every 16th is kept, so no end of the heap is free
    kept = [bytes(2_000) for _ in range(1_000)]
    before = process.memory_info().rss

    return_free_memory()

    assert before - process.memory_info().rss > 20_000_000
    assert len(kept) == 1_000
