"""Bounded priority queue in front of a fixed number of run slots.

Order: lower priority numbers first; within a priority, the key with the least recent start, so that a key with a
hundred waiting requests delays another key's first one by one slot at most; within a key, first come, first served.

A full queue is shared in the same order. A new request evicts the newest one of the key with the most waiting, in the
last priority after its own; or in its own, but only from a key with at least two more than its own key, so that two
keys do not evict each other in turns. No request is evicted by a later priority.

Starts may be paced by CPU use (`cpu_pacing`). Then, while keys of the same or a better priority compete, no key may
hold all busy places, and a key whose runs mostly fail starts at most twice a second, and only while no run is busy: an
error costs as much CPU as an answer, and often a worker too.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.runs.cpu_pacing import CpuPacer
from apiproxy.runs.first_of import first_of
from apiproxy.runs.slot import KeyId, Slot

_FULL = "The gateway's queue is full."
_INITIAL_SERVICE_S = 5.0
_SMOOTHING = 0.2
_MAX_RETRY_AFTER_S = 120.0
_MIN_RECHECK_S = 0.001
_MAX_KEYS = 4_096  # whose last start is remembered
_FAILING = 0.5  # share of failed runs from which a key counts as failing
_FAILING_PAUSE_S = 0.5
_FAILING_MAX_PAUSE_S = 2.0
"""Pauses between the starts of a failing key: while no run is busy, and in any case."""
_COMPETING_S = 10.0  # so long after its last start a key counts as competing


@dataclass(slots=True, kw_only=True)
class _LastStart:
    """A key's last start.

    number: sequence number over all keys. at: monotonic time. failing: share of failed runs.
    """

    number: int
    at: float
    priority: int
    failing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSnapshot:
    """Runs with a slot, runs waiting for one, and the number of slots."""

    active: int
    waiting: int
    max: int


class Admission:
    """The queue of this process. All calls on the event loop's thread."""

    def __init__(
        self, *, max_active: int, max_waiting: int, wait_limit_s: float, max_starting: int | None = None
    ) -> None:
        """Create an empty queue.

        max_starting: at most twice as many runs may be busy; None for runs that need no CPU, which are not paced.
        """
        self._max_active = max_active
        self._max_waiting = max_waiting
        self._wait_limit_s = wait_limit_s
        self._pacer = None if max_starting is None else CpuPacer(max_starting=max_starting)
        self._slots: set[Slot] = set()
        self._recheck_timer: asyncio.TimerHandle | None = None
        self._waiting = 0
        self._service_s = _INITIAL_SERVICE_S
        self._queues: dict[int, dict[KeyId, deque[asyncio.Future[Slot]]]] = {}
        self._starts = 0
        self._last_starts: dict[KeyId, _LastStart] = {}  # oldest first

    def snapshot(self) -> QueueSnapshot:
        return QueueSnapshot(active=len(self._slots), waiting=self._waiting, max=self._max_active)

    def retry_after_s(self) -> float:
        """Whole seconds until a rejected request has a fair chance, estimated from recent service times."""
        rounds = (self._waiting + 1) / self._max_active
        return min(_MAX_RETRY_AFTER_S, max(1.0, math.ceil(self._service_s * rounds)))

    async def acquire(
        self, *, key: KeyId, priority: int, stopped: asyncio.Event, on_queued: Callable[[int], None]
    ) -> Slot | None:
        """Wait for a slot; None when `stopped` is set first, which leaves the queue at once.

        on_queued is called with the position, from 1, or 0 where a slot was free. Raises ProxyError: QUEUE_FULL,
        QUEUE_TIMEOUT.
        """
        if not self._waiting and self._may_start(key, priority):
            on_queued(0)
            return self._grant(key, priority, asyncio.get_running_loop())
        if self._is_full() and not self._evict_for(key, priority):
            raise self._full(_FULL)
        waiter = self._enqueue(key, priority)
        on_queued(self._waiting)
        self._admit_next()  # sets the recheck timer; else nothing might wake this request before a slot is released
        try:
            await first_of(waiter, stopped, timeout_s=self._wait_limit_s)
            return self._result(waiter, stopped=stopped.is_set())
        finally:
            if not waiter.done():
                self._remove(waiter, key, priority)

    def check_room(self, *, key: KeyId, priority: int) -> None:
        """Raise ProxyError(QUEUE_FULL) if `acquire` would do so now. Changes nothing."""
        if self._is_full() and self._evictable_for(key, priority) is None:
            raise self._full(_FULL)

    def on_released(self, slot: Slot, *, held_s: float) -> None:
        """Called by a slot that was held for so many seconds."""
        self._slots.discard(slot)
        if (last := self._last_starts.get(slot.key)) is not None:
            last.failing += _SMOOTHING * (slot.failed - last.failing)
        self._service_s += _SMOOTHING * (held_s - self._service_s)
        self._admit_next()

    def on_start_finished(self) -> None:
        """Called by a slot whose run no longer counts as starting."""
        if self._pacer is not None:
            self._pacer.start_finished()
            self._admit_next()

    def _may_start(self, key: KeyId, priority: int) -> bool:
        if len(self._slots) >= self._max_active:
            return False
        if self._pacer is None:
            return True
        now = time.monotonic()
        busy = [slot for slot in self._slots if slot.busy_until > now]
        if self._must_pause(key, priority, now, busy=bool(busy)):
            return False
        paced = self._pacer.max_starting < self._max_active and self._has_competitor(key, priority, now)
        own = sum(slot.key == key for slot in busy) if paced else None
        return self._pacer.may_start(now, busy=len(busy), own=own)

    def _has_competitor(self, key: KeyId, priority: int, now: float) -> bool:
        """True if another key of the same or a better priority has started a run recently."""
        for other, last in reversed(self._last_starts.items()):
            if now - last.at > _COMPETING_S:
                return False
            if other != key and last.priority <= priority:
                return True
        return False

    def _must_pause(self, key: KeyId, priority: int, now: float, *, busy: bool) -> bool:
        """True if a failing key must wait after its last start; longer while runs are busy."""
        last = self._last_starts.get(key)
        if last is None or last.failing < _FAILING or now - last.at >= _FAILING_MAX_PAUSE_S:
            return False
        return (busy or now - last.at < _FAILING_PAUSE_S) and self._has_competitor(key, priority, now)

    def _result(self, waiter: asyncio.Future[Slot], *, stopped: bool) -> Slot | None:
        if stopped:
            if waiter.done() and waiter.exception() is None:
                waiter.result().release()
            return None
        if waiter.done():
            return waiter.result()
        message = "Timed out waiting for a free slot."
        raise ProxyError(FailureKind.QUEUE_TIMEOUT, message, retry_after_s=self.retry_after_s())

    def _grant(self, key: KeyId, priority: int, loop: asyncio.AbstractEventLoop) -> Slot:
        now = time.monotonic()
        if self._pacer is not None:
            self._pacer.start(now)
        self._starts += 1
        last = self._last_starts.pop(key, None)
        failing = 0.0 if last is None else last.failing
        self._last_starts[key] = _LastStart(number=self._starts, at=now, priority=priority, failing=failing)
        if len(self._last_starts) > _MAX_KEYS:
            del self._last_starts[next(iter(self._last_starts))]
        slot = Slot(self, loop, key=key)
        self._slots.add(slot)
        return slot

    def _enqueue(self, key: KeyId, priority: int) -> asyncio.Future[Slot]:
        waiter: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(priority, {}).setdefault(key, deque()).append(waiter)
        self._waiting += 1
        return waiter

    def _is_full(self) -> bool:
        free = self._max_active - len(self._slots)  # requests held back by pacing alone do not count as queued
        return self._waiting >= self._max_waiting + free

    def _evictable_for(self, key: KeyId, priority: int) -> tuple[KeyId, int] | None:
        """Key and priority whose newest request gives way to a new one of this key; None if none does."""
        last = max(self._queues, default=priority)
        queues = self._queues.get(last)
        if queues is None or last < priority:
            return None
        most = max(queues, key=lambda waiting: len(queues[waiting]))
        if last == priority and len(queues[most]) < len(queues.get(key, ())) + 2:
            return None
        return most, last

    def _evict_for(self, key: KeyId, priority: int) -> bool:
        """Evict a request in favor of a new one of this key; False if none may be evicted."""
        found = self._evictable_for(key, priority)
        if found is None:
            return False
        most, last = found
        waiter = self._queues[last][most].pop()
        self._waiting -= 1
        self._prune(most, last)
        reason = (
            "its API key had the most waiting requests"
            if last == priority
            else "a request of a higher priority arrived"
        )
        waiter.set_exception(self._full(f"The gateway's queue is full, and this request was replaced: {reason}."))
        return True

    def _full(self, message: str) -> ProxyError:
        return ProxyError(FailureKind.QUEUE_FULL, message, retry_after_s=self.retry_after_s())

    def _remove(self, waiter: asyncio.Future[Slot], key: KeyId, priority: int) -> None:
        self._queues[priority][key].remove(waiter)
        self._waiting -= 1
        self._prune(key, priority)

    def _prune(self, key: KeyId, priority: int) -> None:
        queues = self._queues[priority]
        if key in queues and not queues[key]:
            del queues[key]
        if not queues:
            del self._queues[priority]

    def _admit_next(self) -> None:
        while self._waiting and len(self._slots) < self._max_active:
            chosen = self._next()
            if chosen is None:
                self._schedule_recheck()
                return
            key, priority = chosen
            waiter = self._queues[priority][key].popleft()
            self._waiting -= 1
            self._prune(key, priority)
            waiter.set_result(self._grant(key, priority, waiter.get_loop()))

    def _next(self) -> tuple[KeyId, int] | None:
        """Key and priority to start next.

        A waiting priority blocks later ones, unless all its keys must pause.
        """
        now = time.monotonic()
        busy = any(slot.busy_until > now for slot in self._slots)
        for priority in sorted(self._queues):
            queues = self._queues[priority]
            for key in sorted(queues, key=self._last_number):
                if self._may_start(key, priority):
                    return key, priority
            if not all(self._must_pause(key, priority, now, busy=busy) for key in queues):
                return None
        return None

    def _last_number(self, key: KeyId) -> int:
        last = self._last_starts.get(key)
        return 0 if last is None else last.number

    def _schedule_recheck(self) -> None:
        """Check again when the first run stops being busy, or a pause ends; events may bring it forward."""
        if self._recheck_timer is not None:
            self._recheck_timer.cancel()
        now = time.monotonic()
        overdue_at = 0.0 if self._pacer is None else self._pacer.overdue_at
        times = [overdue_at, *(slot.busy_until for slot in self._slots)]
        for key in {key for queues in self._queues.values() for key in queues}:
            if (last := self._last_starts.get(key)) is not None and last.failing >= _FAILING:
                times += [last.at + _FAILING_PAUSE_S, last.at + _FAILING_MAX_PAUSE_S]
        pause_s = max(_MIN_RECHECK_S, min((at for at in times if at > now), default=now) - now)
        self._recheck_timer = asyncio.get_running_loop().call_later(pause_s, self._recheck)

    def _recheck(self) -> None:
        self._recheck_timer = None
        self._admit_next()
