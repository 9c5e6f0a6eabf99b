"""Who may run now: a bounded queue before a fixed number of slots, of which some at a time may be at work.

Lower priorities first; within a priority, the key whose last turn is longest ago, so that a key with a hundred waiting
does not starve another's first, which waits for one slot at most; within a key, first come, first served.

A full queue is shared in the same order. A newcomer takes the place of the newest request of the key with the most
waiting: in the last of the priorities that come after its own, or else in its own, and there only from a key with at
least two more than its own, so that two keys never take the same place from each other by turns. Nobody gives way to a
later priority.

Until the upstream has been asked a run keeps a core busy (20–30 ms), and at other times too (`slot`). More of them at
once than there are cores would only slow each other down, and it is in the queue, not on a worker, that those with
priority pass the others. Measured in docs/decisions/0009-what-load-does.md.

While keys of the same or a better priority have runs too, no key may have all of those at work: one place is left for
the others, and a key with none at work takes it at once. A key most of whose runs fail may start only twice a
second, while no run is at work: an error costs as much as an answer, and often a worker too.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.runs.slot import Slot

_FIRST_GUESS_S = 5.0
_SMOOTHING = 0.2
_MAX_RETRY_AFTER_S = 120.0
_AT_WORK_PER_START = 2
_PATIENCE_S = 0.25
"""After so long without a start the next one comes, whatever the others do."""
_LOOK_AGAIN_S = 0.001
"""The shortest pause between two looks at who is still at work."""
_MAX_TURNS = 4_096
"""Keys whose last turn is remembered."""
_FAILING = 0.5
"""A key counts as failing while at least this share of its last runs has failed."""
_FAILING_PAUSE_S = 0.5
_FAILING_PATIENCE_S = 2.0
"""How long after its last start a failing key may start again: while no run is at work, and in any case."""
_SHARING_S = 10.0
"""How long after its last start a key counts as one that has runs too."""

KeyId = int | None


@dataclass(slots=True, kw_only=True)
class _Turn:
    """A key's last start: its number in the order of all, its time (monotonic) and priority; the share that failed."""

    number: int
    at: float
    priority: int
    failing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSnapshot:
    """How many runs have slots, how many wait, and how many may have slots at once."""

    active: int
    waiting: int
    max: int


class Admission:
    """The queue of this process. All calls on the event loop's thread."""

    def __init__(
        self, *, max_active: int, max_waiting: int, wait_limit_s: float, max_starting: int | None = None
    ) -> None:
        """max_starting: None for no limit but max_active. Twice as many may be at work, those included."""
        self._max_active = max_active
        self._max_starting = max_starting if max_starting is not None else max_active
        self._max_at_work = self._max_starting * _AT_WORK_PER_START
        self._max_waiting = max_waiting
        self._wait_limit_s = wait_limit_s
        self._slots: set[Slot] = set()
        self._starting = 0
        self._last_start = -math.inf
        self._look: asyncio.TimerHandle | None = None
        self._waiting = 0
        self._service_s = _FIRST_GUESS_S
        self._lines: dict[int, dict[KeyId, deque[asyncio.Future[Slot]]]] = {}
        self._turns = 0
        self._last_turn: dict[KeyId, _Turn] = {}  # in the order of the turns

    def snapshot(self) -> QueueSnapshot:
        """The queue as it is now."""
        return QueueSnapshot(active=len(self._slots), waiting=self._waiting, max=self._max_active)

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
        if not self._waiting and self._may_start(key, priority):
            on_queued(0)
            return self._grant(key, priority, asyncio.get_running_loop())
        free = self._max_active - len(self._slots)  # who only waits until others have started is not in the queue
        if self._waiting >= self._max_waiting + free and not self._make_room(key, priority):
            raise self._full("The gateway's queue is full.")
        place = self._join(key, priority)
        on_queued(self._waiting)
        self._admit_next()  # nothing else may happen before those at work are done: this sets the time to look again
        stop = asyncio.ensure_future(stopped.wait())
        try:
            await asyncio.wait((place, stop), timeout=self._wait_limit_s, return_when=asyncio.FIRST_COMPLETED)
            return self._leave(place, stopped=stopped.is_set())
        finally:
            stop.cancel()
            if not place.done():
                self._drop(place, key, priority)

    def released(self, slot: Slot, *, held_s: float) -> None:
        """A slot became free after so many seconds; called by it."""
        self._slots.discard(slot)
        if (turn := self._last_turn.get(slot.key)) is not None:
            turn.failing += _SMOOTHING * (slot.failed - turn.failing)
        self._service_s += _SMOOTHING * (held_s - self._service_s)
        self._admit_next()

    def start_is_over(self) -> None:
        """A run has started, or will not; called by its slot."""
        self._starting -= 1
        self._admit_next()

    def _may_start(self, key: KeyId, priority: int) -> bool:
        """Whether a run of this key may have a slot now."""
        if len(self._slots) >= self._max_active:
            return False
        now = time.monotonic()
        patient = now - self._last_start < _PATIENCE_S
        working = [slot for slot in self._slots if slot.at_work_until > now]
        if self._must_pause(key, priority, now, at_work=bool(working)):
            return False
        if self._max_starting < self._max_active and self._shares(key, priority, now):
            own = sum(slot.key == key for slot in working)
            if not own and len(working) <= self._max_at_work:
                return True
            if own >= max(1, self._max_at_work - 1) and patient:
                return False
        return self._starting < self._max_starting and not (patient and len(working) >= self._max_at_work)

    def _shares(self, key: KeyId, priority: int, now: float) -> bool:
        """Whether another key, of the same or a better priority, has had a start lately."""
        for other, turn in reversed(self._last_turn.items()):
            if now - turn.at > _SHARING_S:
                return False
            if other != key and turn.priority <= priority:
                return True
        return False

    def _must_pause(self, key: KeyId, priority: int, now: float, *, at_work: bool) -> bool:
        """Whether the key is failing, and has started just now beside another; for longer while runs are at work."""
        turn = self._last_turn.get(key)
        if turn is None or turn.failing < _FAILING or now - turn.at >= _FAILING_PATIENCE_S:
            return False
        return (at_work or now - turn.at < _FAILING_PAUSE_S) and self._shares(key, priority, now)

    def _leave(self, place: asyncio.Future[Slot], *, stopped: bool) -> Slot | None:
        if place.done():
            if not stopped:
                return place.result()
            if place.exception() is None:
                place.result().release()
            return None
        if stopped:
            return None
        raise ProxyError(
            FailureKind.QUEUE_TIMEOUT,
            "The request waited too long for a free slot.",
            retry_after_s=self.retry_after_s(),
        )

    def _grant(self, key: KeyId, priority: int, loop: asyncio.AbstractEventLoop) -> Slot:
        self._starting += 1
        self._last_start = time.monotonic()
        self._turns += 1
        last = self._last_turn.pop(key, None)
        failing = 0.0 if last is None else last.failing
        self._last_turn[key] = _Turn(number=self._turns, at=self._last_start, priority=priority, failing=failing)
        if len(self._last_turn) > _MAX_TURNS:
            del self._last_turn[next(iter(self._last_turn))]
        slot = Slot(self, loop, key=key)
        self._slots.add(slot)
        return slot

    def _join(self, key: KeyId, priority: int) -> asyncio.Future[Slot]:
        place: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(priority, {}).setdefault(key, deque()).append(place)
        self._waiting += 1
        return place

    def _make_room(self, key: KeyId, priority: int) -> bool:
        """Has the request give way that must, so that one of this key can wait; False where none must."""
        last = max(self._lines, default=priority)
        lines = self._lines.get(last)
        if lines is None or last < priority:
            return False
        most = max(lines, key=lambda waiting: len(lines[waiting]))
        if last == priority and len(lines[most]) < len(lines.get(key, ())) + 2:
            return False
        place = lines[most].pop()
        self._waiting -= 1
        self._forget_empty(most, last)
        message = "The gateway's queue is full, and this request gave way: "
        message += "its API key had the most waiting." if last == priority else "one of a higher priority came."
        place.set_exception(self._full(message))
        return True

    def _full(self, message: str) -> ProxyError:
        return ProxyError(FailureKind.QUEUE_FULL, message, retry_after_s=self.retry_after_s())

    def _drop(self, place: asyncio.Future[Slot], key: KeyId, priority: int) -> None:
        self._lines[priority][key].remove(place)
        self._waiting -= 1
        self._forget_empty(key, priority)

    def _admit_next(self) -> None:
        while self._waiting and len(self._slots) < self._max_active:
            chosen = self._next()
            if chosen is None:
                self._look_again_later()
                return
            key, priority = chosen
            place = self._lines[priority][key].popleft()
            self._waiting -= 1
            self._forget_empty(key, priority)
            place.set_result(self._grant(key, priority, place.get_loop()))

    def _next(self) -> tuple[KeyId, int] | None:
        """Whose request starts next. A priority that waits holds the later ones up, unless all its keys must pause."""
        now = time.monotonic()
        at_work = any(slot.at_work_until > now for slot in self._slots)
        for priority in sorted(self._lines):
            lines = self._lines[priority]
            for key in sorted(lines, key=self._turn_of):
                if self._may_start(key, priority):
                    return key, priority
            if not all(self._must_pause(key, priority, now, at_work=at_work) for key in lines):
                return None
        return None

    def _turn_of(self, key: KeyId) -> int:
        turn = self._last_turn.get(key)
        return 0 if turn is None else turn.number

    def _look_again_later(self) -> None:
        """When the first of those at work is done, or a pause or patience ends; all may come nearer until then."""
        if self._look is not None:
            self._look.cancel()
        now = time.monotonic()
        times = [self._last_start + _PATIENCE_S, *(slot.at_work_until for slot in self._slots)]
        for key in {key for lines in self._lines.values() for key in lines}:
            if (turn := self._last_turn.get(key)) is not None and turn.failing >= _FAILING:
                times += [turn.at + _FAILING_PAUSE_S, turn.at + _FAILING_PATIENCE_S]
        pause_s = max(_LOOK_AGAIN_S, min((at for at in times if at > now), default=now) - now)
        self._look = asyncio.get_running_loop().call_later(pause_s, self._looked)

    def _looked(self) -> None:
        self._look = None
        self._admit_next()

    def _forget_empty(self, key: KeyId, priority: int) -> None:
        lines = self._lines[priority]
        if key in lines and not lines[key]:
            del lines[key]
        if not lines:
            del self._lines[priority]
