"""Who may run now: a bounded queue before a fixed number of slots, of which some at a time may be starting.

Lower priorities first; within a priority, the key whose last turn is longest ago, so that a key with a hundred waiting
does not starve another's first, which waits for one slot at most; within a key, first come, first served.

Until the upstream has been asked a run keeps a core busy (20–30 ms). More of them at once than there are cores would
only slow each other down, and it is in the queue, not on a worker, that those with priority pass the others.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from apiproxy.errors import FailureKind, ProxyError

_FIRST_GUESS_S = 5.0
_SMOOTHING = 0.2
_MAX_RETRY_AFTER_S = 120.0
_STARTING_LIMIT_S = 0.25
"""How long a run counts as starting at most: one that waits for a process must not hold others up that have one."""
_MAX_TURNS = 4_096
"""Keys whose last turn is remembered."""

KeyId = int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSnapshot:
    """How many runs have slots, how many wait, and how many may have slots at once."""

    active: int
    waiting: int
    max: int


class Slot:
    """Permission to run, until `release`. Counts as starting until `started`, for `_STARTING_LIMIT_S` at most."""

    def __init__(self, admission: "Admission", loop: asyncio.AbstractEventLoop) -> None:
        self._admission = admission
        self._since = time.monotonic()
        self._held = True
        self._starting = loop.call_later(_STARTING_LIMIT_S, self._start_is_over)
        self._started = False

    def started(self) -> None:
        """The upstream has been asked: the next may start. Further calls do nothing."""
        self._starting.cancel()
        self._start_is_over()

    def release(self) -> None:
        """Gives the slot to the next in line. Further calls do nothing."""
        if self._held:
            self._held = False
            self.started()
            self._admission.released(held_s=time.monotonic() - self._since)

    def _start_is_over(self) -> None:
        if not self._started:
            self._started = True
            self._admission.start_is_over()


class Admission:
    """The queue of this process. All calls on the event loop's thread."""

    def __init__(
        self, *, max_active: int, max_waiting: int, wait_limit_s: float, max_starting: int | None = None
    ) -> None:
        """max_starting: None for no limit but max_active."""
        self._max_active = max_active
        self._max_starting = max_starting if max_starting is not None else max_active
        self._max_waiting = max_waiting
        self._wait_limit_s = wait_limit_s
        self._active = 0
        self._starting = 0
        self._waiting = 0
        self._service_s = _FIRST_GUESS_S
        self._lines: dict[int, dict[KeyId, deque[asyncio.Future[Slot]]]] = {}
        self._turns = 0
        self._last_turn: dict[KeyId, int] = {}  # in the order of the turns

    def snapshot(self) -> QueueSnapshot:
        """The queue as it is now."""
        return QueueSnapshot(active=self._active, waiting=self._waiting, max=self._max_active)

    def retry_after_s(self) -> float:
        """When a request that is refused now would have a fair chance, from the service times seen lately.

        Whole seconds.
        """
        rounds = (self._waiting + 1) / self._max_active
        return min(_MAX_RETRY_AFTER_S, max(1.0, math.ceil(self._service_s * rounds)))

    async def acquire(
        self, *, key: KeyId, priority: int, stopped: asyncio.Event, on_queued: Callable[[int], None]
    ) -> Slot | None:
        """A slot, or None when `stopped` is set first; the line is left at once then.

        on_queued is told the position, from 1, or 0 where a slot was free. Raises ProxyError: QUEUE_FULL,
        QUEUE_TIMEOUT.
        """
        if self._has_room and not self._waiting:
            on_queued(0)
            return self._grant(key, asyncio.get_running_loop())
        free = self._max_active - self._active  # who only waits until others have started is not in the queue
        if self._waiting >= self._max_waiting + free:
            raise ProxyError(FailureKind.QUEUE_FULL, "The gateway's queue is full.", retry_after_s=self.retry_after_s())
        place = self._join(key, priority)
        on_queued(self._waiting)
        stop = asyncio.ensure_future(stopped.wait())
        try:
            await asyncio.wait((place, stop), timeout=self._wait_limit_s, return_when=asyncio.FIRST_COMPLETED)
            return self._leave(place, stopped=stopped.is_set())
        finally:
            stop.cancel()
            if not place.done():
                self._drop(place, key, priority)

    def released(self, *, held_s: float) -> None:
        """A slot became free after so many seconds; called by `Slot.release`."""
        self._active -= 1
        self._service_s += _SMOOTHING * (held_s - self._service_s)
        self._admit_next()

    def start_is_over(self) -> None:
        """A run has started, or will not; called by its slot."""
        self._starting -= 1
        self._admit_next()

    @property
    def _has_room(self) -> bool:
        return self._active < self._max_active and self._starting < self._max_starting

    def _leave(self, place: asyncio.Future[Slot], *, stopped: bool) -> Slot | None:
        if place.done():
            if not stopped:
                return place.result()
            place.result().release()
            return None
        if stopped:
            return None
        raise ProxyError(
            FailureKind.QUEUE_TIMEOUT,
            "The request waited too long for a free slot.",
            retry_after_s=self.retry_after_s(),
        )

    def _grant(self, key: KeyId, loop: asyncio.AbstractEventLoop) -> Slot:
        self._active += 1
        self._starting += 1
        self._turns += 1
        self._last_turn.pop(key, None)
        self._last_turn[key] = self._turns
        if len(self._last_turn) > _MAX_TURNS:
            del self._last_turn[next(iter(self._last_turn))]
        return Slot(self, loop)

    def _join(self, key: KeyId, priority: int) -> asyncio.Future[Slot]:
        place: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(priority, {}).setdefault(key, deque()).append(place)
        self._waiting += 1
        return place

    def _drop(self, place: asyncio.Future[Slot], key: KeyId, priority: int) -> None:
        self._lines[priority][key].remove(place)
        self._waiting -= 1
        self._forget_empty(key, priority)

    def _admit_next(self) -> None:
        while self._waiting and self._has_room:
            priority = min(self._lines)
            lines = self._lines[priority]
            key = min(lines, key=lambda waiting: self._last_turn.get(waiting, 0))
            place = lines[key].popleft()
            self._waiting -= 1
            self._forget_empty(key, priority)
            place.set_result(self._grant(key, place.get_loop()))

    def _forget_empty(self, key: KeyId, priority: int) -> None:
        lines = self._lines[priority]
        if key in lines and not lines[key]:
            del lines[key]
        if not lines:
            del self._lines[priority]
