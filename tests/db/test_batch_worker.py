"""The thread that does the database's work: in order, together, bounded, and not lost where it can be helped."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError

from apiproxy.db.batch_worker import MAX_BATCH, BatchWorker, DeskFullError
from apiproxy.db.jobs import LATER, DeskTimeoutError
from tests.support.waiting import eventually

WITHIN_S = 10.0


class Work:
    """Does numbers; what happens to them is said by the test."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.fail: Callable[[Sequence[int]], Exception | None] = lambda jobs: None
        self.locked: set[int] = set()
        self.opened = 0
        self.ticks = 0
        self.gate = threading.Event()
        self.gate.set()

    def open(self) -> None:
        self.opened += 1

    def tick(self) -> None:
        self.ticks += 1

    def do(self, jobs: Sequence[int]) -> list[Any]:
        self.gate.wait(WITHIN_S)
        if error := self.fail(jobs):
            raise error
        self.batches.append(list(jobs))
        return [LATER if job in self.locked else 10 * job for job in jobs]


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def desk(work: Work) -> Iterator[BatchWorker[int]]:
    made: BatchWorker[int] = BatchWorker("test", work, tick_s=60, max_pending=5, linger_s=0.01)
    yield made
    work.gate.set()
    made.stop(WITHIN_S)


def test_whoever_asks_gets_the_answer(desk: BatchWorker[int]) -> None:
    assert desk.ask(4).result(WITHIN_S) == 40


def test_the_work_is_opened_at_the_start_and_not_with_the_first_job(work: Work, desk: BatchWorker[int]) -> None:
    desk.start()
    eventually(lambda: work.opened == 1, within_s=WITHIN_S)
    assert desk.ask(4).result(WITHIN_S) == 40
    assert work.opened == 1


def test_what_comes_while_a_batch_is_done_is_done_together_and_in_order(work: Work, desk: BatchWorker[int]) -> None:
    work.gate.clear()
    first = desk.ask(0)
    eventually(lambda: not desk._pending, why="the thread has taken it")
    rest = [desk.ask(number) for number in range(1, 5)]
    work.gate.set()
    assert [it.result(WITHIN_S) for it in (first, *rest)] == [0, 10, 20, 30, 40]
    assert work.batches == [[0], [1, 2, 3, 4]]
    assert MAX_BATCH >= 5


def test_what_is_too_much_is_refused_or_counted(
    work: Work, desk: BatchWorker[int], caplog: pytest.LogCaptureFixture
) -> None:
    def fill() -> None:
        for number in range(20):
            desk.ask(number)

    work.gate.clear()
    with pytest.raises(DeskFullError):
        fill()
    desk.put(99)
    assert desk.dropped == 1
    assert "desk.dropped" in caplog.text


def test_a_locked_database_is_asked_again(work: Work, desk: BatchWorker[int]) -> None:
    failures = [OperationalError("database is locked"), OperationalError("database is locked")]
    work.fail = lambda jobs: failures.pop() if failures else None
    assert desk.ask(1).result(WITHIN_S) == 10


def test_one_bad_job_does_not_stop_the_others(work: Work, desk: BatchWorker[int]) -> None:
    work.fail = lambda jobs: ValueError("bad") if 2 in jobs else None
    work.gate.clear()
    answers: list[Any] = [desk.ask(number) for number in (1, 2, 3)]
    work.gate.set()
    assert [answers[0].result(WITHIN_S), answers[2].result(WITHIN_S)] == [10, 30]
    with pytest.raises(ValueError, match="bad"):
        answers[1].result(WITHIN_S)


def test_what_was_left_is_done_before_the_end(work: Work, desk: BatchWorker[int]) -> None:
    for number in range(5):
        desk.put(number)
    assert desk.stop(WITHIN_S) == 0
    assert sorted(job for batch in work.batches for job in batch) == [0, 1, 2, 3, 4]


def test_a_desk_that_was_stopped_begins_again_with_the_next_job(desk: BatchWorker[int]) -> None:
    desk.put(1)
    desk.stop(WITHIN_S)
    assert desk.ask(2).result(WITHIN_S) == 20


def test_a_flush_waits_for_what_is_there(work: Work, desk: BatchWorker[int]) -> None:
    desk.put(7)
    assert desk.flush(WITHIN_S)
    assert work.batches == [[7]]
    work.gate.clear()
    desk.put(8)
    assert not desk.flush(0.05)


def test_put_a_locked_job_aside_while_others_go_on(work: Work, desk: BatchWorker[int]) -> None:
    work.locked = {1}
    first = desk.ask(1)
    assert [desk.ask(number).result(WITHIN_S) for number in (2, 3, 4)] == [20, 30, 40]
    assert not first.done()
    assert desk.pending == 1
    work.locked = set()
    assert first.result(WITHIN_S) == 10
    assert desk.flush(WITHIN_S)


def test_give_up_a_locked_job_when_its_asker_does(work: Work, desk: BatchWorker[int]) -> None:
    work.locked = {1}
    with pytest.raises(DeskTimeoutError):
        desk.ask(1, patience_s=0.2).result(WITHIN_S)
    assert desk.flush(WITHIN_S)
    assert desk.dropped == 0


def test_bound_the_jobs_put_aside(work: Work, desk: BatchWorker[int]) -> None:
    work.locked = {1}
    for _ in range(5):
        desk.put(1)
    eventually(lambda: len(desk._aside) == 5, within_s=WITHIN_S)
    desk.put(1)
    assert desk.dropped == 1


def test_stop_with_a_locked_job_at_the_deadline(work: Work, desk: BatchWorker[int]) -> None:
    work.locked = {1}
    desk.put(1)
    waiting = desk.ask(1)
    assert desk.stop(0.5) == 2
    assert waiting.cancelled()
    assert desk.dropped == 2


def test_survive_an_asker_that_cancelled(work: Work, desk: BatchWorker[int]) -> None:
    work.gate.clear()
    first = desk.ask(1)
    assert first.cancel()
    work.gate.set()
    assert desk.ask(2).result(WITHIN_S) == 20


def test_survive_an_asker_that_cancelled_a_failing_job(work: Work, desk: BatchWorker[int]) -> None:
    work.fail = lambda jobs: ValueError("bad") if 1 in jobs else None
    work.gate.clear()
    first = desk.ask(1)
    eventually(lambda: not desk._pending, why="the thread has taken it")
    assert first.cancel()
    thread = desk._thread
    work.gate.set()
    assert desk.ask(2).result(WITHIN_S) == 20
    assert desk._thread is thread
