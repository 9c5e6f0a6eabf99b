"""Properties of admission for any order of arrivals, departures and releases."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.runs.admission import Admission
from apiproxy.runs.slot import Slot

SLOTS = 2
PLACES = 5


@dataclass(eq=False)
class Request:
    """A request for a slot.

    passed_by: how often each other key of its priority was served since it came, or since its own key was, in whatever
    priority.
    """

    key: int
    priority: int
    number: int
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    passed_by: dict[int, int] = field(default_factory=dict)
    task: "asyncio.Task[Slot | None]" = field(init=False)


class AdmissionMachine(RuleBasedStateMachine):
    """Requests come, leave, and give their slots back."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.admission = Admission(max_active=SLOTS, max_waiting=PLACES, wait_limit_s=3600)
        self.waiting: list[Request] = []
        self.holding: list[Slot] = []
        self.count = 0

    @rule(key=st.integers(min_value=1, max_value=3), priority=st.integers(min_value=0, max_value=1))
    def come(self, key: int, priority: int) -> None:
        self.count += 1
        request = Request(key, priority, self.count)
        free = len(self.holding) < SLOTS
        full = len(self.waiting) == PLACES
        give_way = self._give_way(request) if full else []
        self.runner.run(self._join(request))
        if free:
            self.holding.append(_slot(request))
            return
        self.waiting.append(request)
        refused = [waiting for waiting in self.waiting if waiting.task.done()]
        assert len(refused) == full
        for one in refused:
            assert one in (give_way or [request])
            error = one.task.exception()
            assert isinstance(error, ProxyError)
            assert error.kind is FailureKind.QUEUE_FULL
            self.waiting.remove(one)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(min_value=0))
    def leave(self, which: int) -> None:
        request = self.waiting.pop(which % len(self.waiting))
        request.stopped.set()
        self.runner.run(_settle())
        assert request.task.result() is None

    @precondition(lambda self: self.holding)
    @rule(which=st.integers(min_value=0))
    def release(self, which: int) -> None:
        self.holding.pop(which % len(self.holding)).release()
        self.runner.run(_settle())
        admitted = [request for request in self.waiting if request.task.done()]
        assert len(admitted) == (1 if self.waiting else 0)
        for request in admitted:
            self._check_turn(request)
            self.waiting.remove(request)
            self.holding.append(_slot(request))

    @invariant()
    def the_snapshot_is_true_and_the_bounds_hold(self) -> None:
        snapshot = self.admission.snapshot()
        assert (snapshot.active, snapshot.waiting) == (len(self.holding), len(self.waiting))
        assert snapshot.active <= SLOTS
        assert snapshot.waiting <= PLACES
        assert snapshot.active == SLOTS or not snapshot.waiting, "somebody waits before a free slot"

    def teardown(self) -> None:
        for request in self.waiting:
            request.stopped.set()
        self.runner.run(_settle())
        self.runner.close()

    def _check_turn(self, admitted: Request) -> None:
        """Checks priority, order within a key, and that no key is passed over twice."""
        for other in self.waiting:
            if other is admitted:
                continue
            assert other.priority >= admitted.priority
            if other.priority > admitted.priority:
                continue
            if other.key == admitted.key:
                assert other.number > admitted.number
            elif self._is_first_of_its_key(other):
                other.passed_by[admitted.key] = other.passed_by.get(admitted.key, 0) + 1
                assert other.passed_by[admitted.key] <= 1
        for other in self.waiting:
            if other.key == admitted.key:
                other.passed_by.clear()

    def _give_way(self, newcomer: Request) -> list[Request]:
        """The newest of each key with the most in the last priority; empty where the newcomer is refused."""
        last = max(request.priority for request in self.waiting)
        lines: dict[int, list[Request]] = {}
        for request in self.waiting:
            if request.priority == last:
                lines.setdefault(request.key, []).append(request)
        most = max(len(line) for line in lines.values())
        own = len(lines.get(newcomer.key, []))
        if last < newcomer.priority or (last == newcomer.priority and most < own + 2):
            return []
        return [max(line, key=lambda request: request.number) for line in lines.values() if len(line) == most]

    def _is_first_of_its_key(self, request: Request) -> bool:
        line = [it for it in self.waiting if (it.key, it.priority) == (request.key, request.priority)]
        return line[0] is request

    async def _join(self, request: Request) -> None:
        request.task = asyncio.create_task(
            self.admission.acquire(
                key=request.key, priority=request.priority, stopped=request.stopped, on_queued=lambda _: None
            )
        )
        await _settle()


def _slot(request: Request) -> Slot:
    slot = request.task.result()
    assert slot is not None
    return slot


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


TestAdmission = AdmissionMachine.TestCase
TestAdmission.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
