"""Brings traces to the database from a thread of its own, so that the event loop never waits for it.

Modelled on `transcript_mirror_batcher.py` of the Agent SDK: putting something in is cheap and never fails, what is in
is bounded, and what cannot be kept is counted and told, not raised.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from observability.tracing.store import Record
from observability.tracing.trace_builder import ActiveTrace

logger = logging.getLogger(__name__)

FLUSH_S = 0.15
"""How long a record waits for others to be written with it; the promise is 0.25 s."""

MAX_PENDING = 10_000
MAX_BATCH = 500
MAX_BODY_BYTES = 64 * 2**20
"""Bodies of failed requests that may wait for the comparison with their errors; above it those errors are withheld."""

_RETRY_S = (0.05, 0.2, 0.5, 1.0, 2.0)
_COMPLAIN_S = 60.0
_START_SHARE = 0.8
"""Share of the buffer that beginnings may fill: the rest is kept for endings, which are worth more."""


class Sink(Protocol):
    """What writes. Raises OperationalError or InterfaceError where another try may help."""

    def write(self, records: Sequence[Record], *, again: bool = False) -> None:
        """Writes all of the records or none."""
        ...


class Writer:
    """A bounded buffer and the thread that empties it. `started` and `ended` may be called from any thread."""

    def __init__(
        self,
        sink: Sink,
        *,
        max_pending: int = MAX_PENDING,
        max_body_bytes: int = MAX_BODY_BYTES,
        release: Callable[[], None] | None = None,
    ) -> None:
        self._sink = sink
        self._max_pending = max_pending
        self._max_body_bytes = max_body_bytes
        self._release = release or _release_connection
        self._changed = threading.Condition()
        self._pending: dict[str, Record] = {}
        self._oldest_at: float | None = None
        self._in_flight = 0
        self._body_bytes = 0
        self._stop_at: float | None = None
        self._complained_at = -_COMPLAIN_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trace-writer", daemon=True)
        self.dropped = 0
        self.failing = False

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def started(self, draft: ActiveTrace) -> None:
        """A turn began: its row is due."""
        self._put(Record(draft, final=False), room=int(self._max_pending * _START_SHARE))

    def ended(self, draft: ActiveTrace) -> None:
        """A turn ended: its row is due in its last form."""
        needed = draft.failure is not None or draft.turn.caller.store_bodies
        size = draft.turn.body_bytes if needed else 0
        if not needed or self._body_bytes + size > self._max_body_bytes:
            draft.release_body()
            size = 0
        self._put(Record(draft, final=True), room=self._max_pending, body_bytes=size)

    def changed(self, draft: ActiveTrace) -> None:
        """Not written: a trace has two rows' worth of writes, its beginning and its end."""

    def stalled(self, draft: ActiveTrace) -> None:
        """Not written either."""

    @property
    def pending(self) -> int:
        """Records that are not in the database yet."""
        with self._changed:
            return len(self._pending) + self._in_flight

    @property
    def behind_s(self) -> float:
        """How long the oldest of them has waited; 0 where there is none."""
        oldest = self._oldest_at
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest)

    def flush(self, timeout_s: float) -> bool:
        """Waits until all that was put in so far has been dealt with; False where that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._in_flight, timeout_s)

    def stop(self, timeout_s: float) -> int:
        """Writes what is left, for at most that long, and ends the thread; the number of records lost. Blocks."""
        with self._changed:
            self._stop_at = time.monotonic() + timeout_s
            self._stopping.set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s + 1.0)
        with self._changed:
            lost = len(self._pending) + self._in_flight
        if lost:
            self._drop(lost, "the gateway stopped before they could be written")
        return lost

    def _put(self, record: Record, *, room: int, body_bytes: int = 0) -> None:
        with self._changed:
            kept = record.draft.id in self._pending or len(self._pending) < room
            if kept:
                self._pending[record.draft.id] = record
                self._body_bytes += body_bytes
                if self._oldest_at is None:
                    self._oldest_at = time.monotonic()
                    self._changed.notify_all()
        if not kept:
            self._drop(1, "the buffer is full")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._pending) or self._stopping.is_set())
            self._stopping.wait(FLUSH_S)
            batch = self._take()
            if batch:
                self._write(batch)
                self._done(batch)
            elif self._stopping.is_set():
                break
        self._release()

    def _take(self) -> list[Record]:
        with self._changed:
            ids = list(self._pending)[:MAX_BATCH]
            batch = [self._pending.pop(id_) for id_ in ids]
            self._in_flight = len(batch)
            return batch

    def _done(self, batch: Sequence[Record]) -> None:
        freed = sum(record.draft.turn.body_bytes for record in batch if record.final and record.draft.body is not None)
        for record in batch:
            if record.final:
                record.draft.release_body()
        self._release()
        with self._changed:
            self._in_flight = 0
            self._body_bytes = max(0, self._body_bytes - freed)
            self._oldest_at = time.monotonic() if self._pending else None
            self._changed.notify_all()

    def _write(self, batch: Sequence[Record]) -> None:
        """Writes the batch, for as long as it takes: while the database is away, the buffer fills and then drops."""
        tries = 0
        while True:
            try:
                self._sink.write(batch, again=tries > 0)
            except (OperationalError, InterfaceError) as error:  # locked, full, gone: another time
                self._complain(error)
                if not self._wait_for_retry(tries):
                    self._drop(len(batch), "the gateway stopped before they could be written")
                    return
                tries += 1
            except Exception as error:  # noqa: BLE001 — one bad record, whatever it is, must not stop the others
                self._write_apart(batch, error)
                return
            else:
                self._recovered()
                return

    def _write_apart(self, batch: Sequence[Record], error: Exception) -> None:
        if len(batch) == 1:
            # The message may quote the record, so the log gets the type alone.
            kind = type(error).__name__
            logger.error("trace.unwritable", extra={"reqId": batch[0].draft.id, "error": kind})
            self._drop(1, "the database refused it")
            return
        for record in batch:
            self._write([record])

    def _wait_for_retry(self, tries: int) -> bool:
        """Waits before the next try; False where there is no time for one."""
        self.failing = True
        connections.close_all()  # the thread's own: one that broke is of no use
        pause = _RETRY_S[min(tries, len(_RETRY_S) - 1)]
        if not self._stopping.wait(pause):
            return True
        left = (self._stop_at or 0.0) - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _RETRY_S[0]))
        return True

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained_at >= _COMPLAIN_S:
            self._complained_at = time.monotonic()
            extra = {"error": type(error).__name__, "detail": str(error)[:200], "pending": len(self._pending)}
            logger.warning("trace.write_failed", extra=extra)

    def _recovered(self) -> None:
        if self.failing:
            self.failing = False
            self._complained_at = -_COMPLAIN_S
            logger.info("trace.write_recovered", extra={"dropped": self.dropped})

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if self.dropped == count or self.dropped % 1_000 < count:
            logger.error("trace.dropped", extra={"count": count, "total": self.dropped, "why": why})


def _release_connection() -> None:
    """Gives a pooled connection back; one to an SQLite file stays open, since opening costs more than a write."""
    connection = connections["default"]
    if connection.vendor != "sqlite":
        with suppress(DatabaseError):
            connection.close()
