"""Workers of agents: one for each run, and pre-started ones for agents that keep some ready.

A worker never sees a second run. Starts for the future wait until the current run has got going, one after the other,
because a start takes a third of a second of a core.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.mcp_status import McpStatuses
from apiproxy.engines.agents.place import Places
from apiproxy.engines.agents.worker import AgentWorker, WorkerState
from apiproxy.mcp.http_client import Resolve

logger = logging.getLogger(__name__)

MAX_IDLE_S = 600.0
_KEEP_S = 3600.0
"""How long workers of an agent are kept ready after its last run."""
_START_DELAY_S = 0.3
_RETRY_DELAY_S = 10.0
_CLOSE_TIMEOUT_S = 8.0
_MIN_AVAILABLE_BYTES = 512 * 1024 * 1024
"""Memory of the machine below which no worker is started ahead of need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """max_workers: busy and idle ones together."""

    max_workers: int


class AgentPool:
    """Workers by agent version. Bound to one event loop. monotonic: clock in seconds."""

    def __init__(
        self,
        *,
        places: Places,
        resolve: Resolve,
        limits: AgentLimits,
        statuses: McpStatuses | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = places
        self._resolve = resolve
        self._statuses = statuses or McpStatuses()
        self._limits = limits
        self._monotonic = monotonic
        self._workers: dict[str, AgentWorker] = {}
        self._idle: dict[str, tuple[AgentWorker, float]] = {}
        """Idle and starting ones by their ids, and the time until which they may be taken."""
        self._wanted: dict[str, tuple[AgentSpec, float]] = {}
        """Agents with `min_idle` by slug, and the time until which workers are kept for them."""
        self._endings: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    @property
    def workers(self) -> Iterable[AgentWorker]:
        """All of them, in the order of their starts."""
        return self._workers.values()

    def has_idle(self, agent: AgentSpec) -> bool:
        """True if a run of the agent need not wait for a start."""
        return any(worker.state is WorkerState.IDLE and worker.alive for worker in self._idle_of(agent))

    def keep(self, agents: Iterable[AgentSpec]) -> None:
        """Keep workers ready for these agents and no others, as their `min_idle` says."""
        until = self._monotonic() + _KEEP_S
        self._wanted = {agent.slug: (agent, until) for agent in agents if agent.min_idle}
        self._drop_unwanted()
        self._schedule(0)

    async def take(self, agent: AgentSpec) -> AgentWorker:
        """A ready worker for one run. Raises ProxyError, see `AgentWorker.wait_ready`."""
        if self._closing:
            raise ProxyError(FailureKind.DRAINING, "The gateway is shutting down.")
        self._want(agent)
        while (worker := self._take_idle(agent)) is not None:
            try:
                await worker.wait_ready()
                await worker.check_servers()
            except ProxyError:
                worker.retire()
                continue  # a new one says what is wrong now
            except BaseException:  # including cancellation: no caller will get this worker
                worker.retire()
                raise
            if worker.alive:
                return self._taken(worker)
        self._make_room()
        worker = self._start(agent)
        try:
            await worker.wait_ready()
        except BaseException:  # as above
            worker.retire()
            raise
        return self._taken(worker)

    def retire(self, worker_id: str) -> bool:
        """End an idle worker; a busy one ends after its run anyway. False if there is no such worker."""
        worker = self._workers.get(worker_id)
        if worker is None:
            return False
        if self._idle.pop(worker_id, None) is not None:
            worker.retire()
            self._schedule(_START_DELAY_S)
        return True

    async def close(self) -> None:
        """End all workers and wait for them, at most `_CLOSE_TIMEOUT_S`."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for worker in self._workers.values():
            worker.retire()
        if self._endings:
            await asyncio.wait(self._endings, timeout=_CLOSE_TIMEOUT_S)

    def _want(self, agent: AgentSpec) -> None:
        known = self._wanted.get(agent.slug)
        if known is not None and known[0].version > agent.version:
            return  # a request for an older version
        if agent.min_idle:
            self._wanted[agent.slug] = (agent, self._monotonic() + _KEEP_S)
        else:
            self._wanted.pop(agent.slug, None)
        self._drop_unwanted()

    def _drop_unwanted(self) -> None:
        """End idle workers of changed definitions, and those that have waited too long."""
        now = self._monotonic()
        for worker, until in list(self._idle.values()):
            wanted = self._wanted.get(worker.agent.slug)
            if now > until or wanted is None or wanted[0] != worker.agent or now > wanted[1]:
                del self._idle[worker.id]
                worker.retire()

    def _idle_of(self, agent: AgentSpec) -> list[AgentWorker]:
        return [worker for worker, _ in self._idle.values() if worker.agent == agent]

    def _take_idle(self, agent: AgentSpec) -> AgentWorker | None:
        """A worker of the agent, rather a ready one than one that is starting."""
        found = sorted(self._idle_of(agent), key=lambda worker: worker.state is not WorkerState.IDLE)
        if not found:
            return None
        del self._idle[found[0].id]
        return found[0]

    def _taken(self, worker: AgentWorker) -> AgentWorker:
        worker.state = WorkerState.BUSY
        self._schedule(_START_DELAY_S)
        return worker

    def _make_room(self) -> None:
        """End an idle worker if a new one would be too many."""
        if len(self._workers) >= self._limits.max_workers and self._idle:
            worker, _ = self._idle.pop(next(iter(self._idle)))
            worker.retire()

    def _start(self, agent: AgentSpec) -> AgentWorker:
        worker = AgentWorker(agent, places=self._places, resolve=self._resolve, statuses=self._statuses)
        self._workers[worker.id] = worker
        ending = asyncio.create_task(self._follow(worker), name=f"follow agent worker {worker.id}")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        return worker

    async def _follow(self, worker: AgentWorker) -> None:
        await worker.wait_gone()
        self._workers.pop(worker.id, None)
        if self._idle.pop(worker.id, None) is not None:
            self._schedule(_RETRY_DELAY_S)

    def _schedule(self, delay_s: float) -> None:
        """Start missing workers after a pause."""
        if self._closing:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._refill)

    def _refill(self) -> None:
        """Start one missing worker, if none is starting."""
        self._timer = None
        self._drop_unwanted()
        starting = any(worker.state is WorkerState.STARTING for worker in self._workers.values())
        missing = None if starting else self._first_missing()
        if missing is not None:
            worker = self._start(missing)
            self._idle[worker.id] = (worker, self._monotonic() + MAX_IDLE_S)
        if starting or missing is not None:
            self._schedule(_START_DELAY_S)
        elif self._wanted:
            self._schedule(_RETRY_DELAY_S)

    def _first_missing(self) -> AgentSpec | None:
        if len(self._workers) >= self._limits.max_workers:
            return None
        if psutil.virtual_memory().available < _MIN_AVAILABLE_BYTES:
            return None
        for agent, _ in self._wanted.values():
            if len(self._idle_of(agent)) < agent.min_idle:
                return agent
        return None
