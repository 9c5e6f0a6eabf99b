"""Background thread that writes traces: two writes a trace, one when it starts and one when it ends.

`started` and `ended` return at once and never raise; the queue is bounded, and lost records are counted and logged.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from apiproxy.core.events import Step
from apiproxy.db.batch_worker import BatchWorker, Handler
from apiproxy.db.connections import DATABASE_ERRORS
from apiproxy.db.jobs import KeyedQueue
from apiproxy.db.worker_log import WorkerLog
from observability.tracing.store import Record
from observability.tracing.trace_builder import ActiveTrace

logger = logging.getLogger(__name__)

LINGER_S = 0.15
"""Maximum wait of a record for others to share its transaction; traces are to be readable within 0.25 s."""

MAX_PENDING = 10_000
MAX_BATCH = 500
MAX_BODY_BYTES = 64 * 2**20
"""Memory cap for bodies kept to redact error messages, and for steps; beyond it, they are withheld."""

_START_SHARE = 0.8
"""Share of the queue open to traces that start. The rest is reserved for those that end, which matter more."""


class Sink(Protocol):
    """Storage of the records."""

    def write(self, records: Sequence[Record], *, again: bool = False) -> None:
        """Write all of the records or none. `again`: an earlier attempt may have been committed.

        Raises OperationalError or InterfaceError if a retry may help.
        """
        ...


class Writer(BatchWorker[Record]):
    """Trace listener that writes in batches. Not started by the first record, but by `start`."""

    def __init__(self, sink: Sink, *, max_pending: int = MAX_PENDING, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._bodies = _BodyBudget(max_body_bytes)
        self._max_starts = int(max_pending * _START_SHARE)
        super().__init__(
            "trace-writer",
            _RecordHandler(sink, self._bodies),
            max_pending=max_pending,
            max_batch=MAX_BATCH,
            linger_s=LINGER_S,
            # The end of a short turn replaces its start, which is then not written.
            queue=KeyedQueue(lambda record: record.draft.id),
            log=_TraceLog("trace-writer"),
            autostart=False,
        )

    def started(self, draft: ActiveTrace) -> None:
        self.submit(Record(draft, final=False), max_pending=self._max_starts)

    def stepped(self, draft: ActiveTrace, step: Step) -> None:
        """Write the steps so far, for other processes and in case this one dies; pending writes are replaced."""
        self.started(draft)

    def ended(self, draft: ActiveTrace) -> None:
        held = size = _size_of(draft)
        if not self._bodies.take(size):
            draft.release_body()
            if draft.steps is not None:
                draft.steps.drop()
            held = 0
        record = Record(draft, final=True, held_bytes=held)
        if not self.submit(record):
            self._bodies.release(record)

    def changed(self, draft: ActiveTrace) -> None:
        """Ignored: phases are not stored."""

    def stalled(self, draft: ActiveTrace) -> None:
        """Ignored: stalls are not stored."""


def _size_of(draft: ActiveTrace) -> int:
    """Memory needed to write an ended trace.

    Its steps, and its body if texts are to be masked or stored.
    """
    steps = draft.steps
    texts = draft.failure is not None or (steps is not None and steps.has_errors)
    if not texts and not draft.turn.caller.store_bodies:
        draft.release_body()
    size = 0 if draft.body is None else draft.turn.body_bytes
    return size + (0 if steps is None else steps.size_bytes)


class _BodyBudget:
    """Total size of the request bodies and steps held by queued records."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Reserve room; False if there is none."""
        with self._lock:
            if size_bytes and self._held_bytes + size_bytes > self._max_bytes:
                return False
            self._held_bytes += size_bytes
            return True

    def release(self, record: Record) -> None:
        """Drop the record's body, unless its turn is still running."""
        if record.final and record.draft.body is not None:
            record.draft.release_body()
        with self._lock:
            self._held_bytes -= record.held_bytes


class _RecordHandler(Handler[Record]):
    def __init__(self, sink: Sink, bodies: _BodyBudget) -> None:
        self._sink = sink
        self._bodies = bodies
        self._retrying = False

    def do(self, jobs: Sequence[Record]) -> Sequence[None]:
        try:
            self._sink.write(jobs, again=self._retrying)
        except DATABASE_ERRORS:
            self._retrying = True
            raise
        self._retrying = False
        return [None] * len(jobs)

    def finished(self, jobs: Sequence[Record]) -> None:
        self._retrying = False
        for record in jobs:
            self._bodies.release(record)


class _TraceLog(WorkerLog):
    def delayed(self, error: Exception, pending: int) -> None:
        if self.should_warn():
            extra = {"error": type(error).__name__, "detail": str(error)[:200], "pending": pending}
            logger.warning("trace.write_failed", extra=extra)

    def recovered(self, dropped: int) -> None:
        self.reset_warnings()
        logger.info("trace.write_recovered", extra={"dropped": dropped})

    def rejected(self, job: object, error: Exception) -> None:
        # The message may quote the prompt: only the type is logged.
        if isinstance(job, Record):
            logger.error("trace.unwritable", extra={"reqId": job.draft.id, "error": type(error).__name__})

    def dropped(self, count: int, total: int, why: str) -> None:
        if total == count or total % 1_000 < count:  # the first, then one in 1,000
            logger.error("trace.dropped", extra={"count": count, "total": total, "why": why})
