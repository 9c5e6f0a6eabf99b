"""Batch worker: order, batching, bounds, retries, and reporting of lost jobs."""

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError

from apiproxy.db.batch_worker import MAX_BATCH, BatchQueueFullError, BatchWorker, Handler
from apiproxy.db.jobs import LATER, JobTimeoutError, KeyedQueue
from tests.support.waiting import eventually

WITHIN_S = 10.0


class Work(Handler[int]):
    """Multiplies numbers; fails or blocks as set by the test."""

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
def worker(work: Work) -> Iterator[BatchWorker[int]]:
    made: BatchWorker[int] = BatchWorker("test", work, tick_s=60, max_pending=5, linger_s=0.01)
    yield made
    work.gate.set()
    made.stop(WITHIN_S)


def test_answer_every_caller(worker: BatchWorker[int]) -> None:
    assert worker.call(4).result(WITHIN_S) == 40


def test_open_work_at_start_not_with_first_job(work: Work, worker: BatchWorker[int]) -> None:
    worker.start()
    eventually(lambda: work.opened == 1, within_s=WITHIN_S)
    assert worker.call(4).result(WITHIN_S) == 40
    assert work.opened == 1


def test_batch_jobs_arriving_during_a_batch_in_order(work: Work, worker: BatchWorker[int]) -> None:
    work.gate.clear()
    first = worker.call(0)
    eventually(lambda: not worker._pending, why="the thread has taken it")
    rest = [worker.call(number) for number in range(1, 5)]
    work.gate.set()
    assert [it.result(WITHIN_S) for it in (first, *rest)] == [0, 10, 20, 30, 40]
    assert work.batches == [[0], [1, 2, 3, 4]]
    assert MAX_BATCH >= 5


def test_refuse_or_count_overflow(work: Work, worker: BatchWorker[int], caplog: pytest.LogCaptureFixture) -> None:
    def fill() -> None:
        for number in range(20):
            worker.call(number)

    work.gate.clear()
    with pytest.raises(BatchQueueFullError):
        fill()
    worker.submit(99)
    assert worker.dropped == 1
    assert "desk.dropped" in caplog.text


def test_retry_locked_database(work: Work, worker: BatchWorker[int]) -> None:
    failures = [OperationalError("database is locked"), OperationalError("database is locked")]
    work.fail = lambda jobs: failures.pop() if failures else None
    assert worker.call(1).result(WITHIN_S) == 10


def test_continue_after_bad_job(work: Work, worker: BatchWorker[int]) -> None:
    work.fail = lambda jobs: ValueError("bad") if 2 in jobs else None
    work.gate.clear()
    answers: list[Any] = [worker.call(number) for number in (1, 2, 3)]
    work.gate.set()
    assert [answers[0].result(WITHIN_S), answers[2].result(WITHIN_S)] == [10, 30]
    with pytest.raises(ValueError, match="bad"):
        answers[1].result(WITHIN_S)


def test_finish_leftovers_before_the_end(work: Work, worker: BatchWorker[int]) -> None:
    for number in range(5):
        worker.submit(number)
    assert worker.stop(WITHIN_S) == 0
    assert sorted(job for batch in work.batches for job in batch) == [0, 1, 2, 3, 4]


def test_restart_stopped_worker_with_next_job(worker: BatchWorker[int]) -> None:
    worker.submit(1)
    worker.stop(WITHIN_S)
    assert worker.call(2).result(WITHIN_S) == 20


def test_flush_waiting_jobs(work: Work, worker: BatchWorker[int]) -> None:
    worker.submit(7)
    assert worker.flush(WITHIN_S)
    assert work.batches == [[7]]
    work.gate.clear()
    worker.submit(8)
    assert not worker.flush(0.05)


def test_put_a_locked_job_aside_while_others_go_on(work: Work, worker: BatchWorker[int]) -> None:
    work.locked = {1}
    first = worker.call(1)
    assert [worker.call(number).result(WITHIN_S) for number in (2, 3, 4)] == [20, 30, 40]
    assert not first.done()
    assert worker.pending == 1
    work.locked = set()
    assert first.result(WITHIN_S) == 10
    assert worker.flush(WITHIN_S)


def test_give_up_a_locked_job_when_its_asker_does(work: Work, worker: BatchWorker[int]) -> None:
    work.locked = {1}
    with pytest.raises(JobTimeoutError):
        worker.call(1, timeout_s=0.2).result(WITHIN_S)
    assert worker.flush(WITHIN_S)
    assert worker.dropped == 0


def test_bound_the_jobs_put_aside(work: Work, worker: BatchWorker[int]) -> None:
    work.locked = {1}
    for _ in range(5):
        worker.submit(1)
    eventually(lambda: len(worker._retries) == 5, within_s=WITHIN_S)
    worker.submit(1)
    assert worker.dropped == 1


def test_stop_with_a_locked_job_at_the_deadline(work: Work, worker: BatchWorker[int]) -> None:
    work.locked = {1}
    worker.submit(1)
    waiting = worker.call(1)
    assert worker.stop(0.5) == 2
    assert waiting.cancelled()
    assert worker.dropped == 2


def test_survive_an_asker_that_cancelled(work: Work, worker: BatchWorker[int]) -> None:
    work.gate.clear()
    first = worker.call(1)
    assert first.cancel()
    work.gate.set()
    assert worker.call(2).result(WITHIN_S) == 20


def test_survive_an_asker_that_cancelled_a_failing_job(work: Work, worker: BatchWorker[int]) -> None:
    work.fail = lambda jobs: ValueError("bad") if 1 in jobs else None
    work.gate.clear()
    first = worker.call(1)
    eventually(lambda: not worker._pending, why="the thread has taken it")
    assert first.cancel()
    thread = worker._thread
    work.gate.set()
    assert worker.call(2).result(WITHIN_S) == 20
    assert worker._thread is thread


def test_stop_counts_a_job_whose_query_hangs(work: Work, worker: BatchWorker[int]) -> None:
    work.gate.clear()
    worker.submit(1)
    eventually(lambda: worker._in_flight == 1, within_s=WITHIN_S)
    assert worker.stop(0.05) == 1
    assert worker.dropped == 1


def test_replace_the_pending_job_with_the_same_key(work: Work) -> None:
    worker = BatchWorker("test", work, max_pending=2, queue=KeyedQueue(lambda job: str(job % 10)), autostart=False)
    assert [worker.submit(job) for job in (1, 2, 11, 3)] == [True, True, True, False]
    assert (worker.pending, worker.dropped, worker.behind_s > 0) == (2, 1, True)
    worker.start()
    assert worker.stop(WITHIN_S) == 0
    assert (work.batches, worker.behind_s) == ([[11, 2]], 0)


def test_keep_room_for_jobs_that_matter_more(work: Work) -> None:
    worker = BatchWorker("test", work, max_pending=2, autostart=False)
    assert [worker.submit(1, max_pending=1), worker.submit(2, max_pending=1), worker.submit(3)] == [True, False, True]
    assert worker.stop(0) == 2


class Held:
    """A job that a test can watch."""


class Nothing(Handler[Held]):
    """Does nothing with its jobs."""

    def do(self, jobs: Sequence[Held]) -> list[None]:
        return [None] * len(jobs)


def test_keep_no_job_after_its_batch() -> None:
    """Else the body of a trace stays in memory until the next one."""
    worker: BatchWorker[Held] = BatchWorker("test", Nothing(), tick_s=60, linger_s=0.01)
    job = Held()
    kept = weakref.ref(job)
    worker.submit(job)
    del job
    try:
        assert worker.flush(WITHIN_S)
        eventually(lambda: kept() is None, within_s=WITHIN_S, why="the job is let go of")
    finally:
        worker.stop(WITHIN_S)
