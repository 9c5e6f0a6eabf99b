"""Runs of a process, with their engines and circuit breaker. Drained on shutdown."""

import asyncio
import logging
from dataclasses import dataclass, field

from apiproxy.catalog import Catalog
from apiproxy.conf import GatewaySettings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import CancelReason, Usage
from apiproxy.core.limits import LimitState
from apiproxy.core.principal import Principal
from apiproxy.core.turns import EngineName, Turn
from apiproxy.db.guarded_query import DatabaseUnavailableError, QueryGuard
from apiproxy.engines.agents.folder import sweep_agent_folders
from apiproxy.engines.base import WorkerSnapshot
from apiproxy.engines.sdk.launch import sweep
from apiproxy.keys.authentication import require_allowed
from apiproxy.limits.accounting import UsageAccounting
from apiproxy.runs.agent_engine import keep_workers
from apiproxy.runs.circuit_breaker import Breaker, BreakerLimits, BreakerSnapshot
from apiproxy.runs.engines import AgentsUnavailableError, Engines, QueuedEngine, worker_folders
from apiproxy.runs.key_watch import KeyWatch
from apiproxy.runs.observers import Observers
from apiproxy.runs.run import Run
from apiproxy.runs.run_limits import RunLimits
from apiproxy.sessions.recorder import SessionRecorder

logger = logging.getLogger(__name__)

_FORCED_END_S = 5.0
"""Time for runs stopped at the end of the drain to answer their clients."""


@dataclass(slots=True)
class _Active:
    run: Run
    task: asyncio.Task[None] = field(repr=False)


class Runtime:
    """Runs and their resources in this process. Bound to one event loop."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        database: QueryGuard,
        catalog: Catalog,
        accounting: UsageAccounting,
        sessions: SessionRecorder,
        observers: Observers,
    ) -> None:
        self.drain_timeout_s = settings.drain_timeout_ms / 1000
        self.warm = False
        """True if `start` could prepare every engine in use."""
        self._catalog = catalog
        self._accounting = accounting
        self._sessions = sessions
        self._observers = observers
        self.engines = Engines(settings, catalog)
        self.breaker = Breaker(
            BreakerLimits(
                failures=settings.breaker.failures,
                window_s=settings.breaker.window_ms / 1000,
                open_s=settings.breaker.open_ms / 1000,
            )
        )
        self._limits = RunLimits(
            stall_timeout_s=settings.stall_timeout_ms / 1000,
            max_duration_s=settings.max_duration_ms / 1000,
            max_output_chars=settings.max_output_chars,
            upstream_retries=settings.upstream_retries,
        )
        self._active: dict[str, _Active] = {}
        self._keys = KeyWatch(self.active_runs, database)
        self._draining = False
        self._keeping: asyncio.Task[None] | None = None
        sweep(worker_folders(settings))
        sweep_agent_folders(settings.state_dir)

    @property
    def ready(self) -> bool:
        """True if the process accepts requests and its engines can answer them."""
        return not self._draining and self.engines.ready

    async def begin(self, principal: Principal, turn: Turn, *, mode: str | None = None) -> tuple[Run, LimitState]:
        """Start a run within the limits of its key; returns the run and the state of the limits.

        mode: see `SessionRecorder.continued`. Raises as that, `require_allowed` (which checks the stored messages too),
        and `UsageAccounting.reserve` do, and ProxyError before the request waits for a slot: UPSTREAM_DOWN while the
        circuit is open, QUEUE_FULL, DRAINING during the drain. All other errors are in the run's ending.
        """
        self.breaker.check(turn.caller.key_id)
        caller = turn.caller
        # Again before the run waits; here it costs the least, and under overload most requests end here.
        self._queued(turn).admission.check_room(key=caller.key_id, priority=caller.priority)
        turn = await self._sessions.continued(turn, mode)
        await require_allowed(principal, turn.body, catalog=self._catalog, betas=turn.betas, body_bytes=turn.body_bytes)
        limits = await self._accounting.reserve(principal, turn)
        try:
            return self._start_run(turn), limits
        except BaseException:  # including cancellation: no run will settle the reservation
            self._accounting.release(turn)
            raise

    def _start_run(self, turn: Turn) -> Run:
        if self._draining:
            raise ProxyError(FailureKind.DRAINING, "The gateway is shutting down.", retry_after_s=5)
        queued = self._queued(turn)
        run = Run(
            turn,
            engine=queued.engine,
            admission=queued.admission,
            breaker=self.breaker,
            limits=self._limits.of(turn.agent),
            publish=self._observers.publish,
            price=self._with_cost,
            estimate=self._accounting.estimate,
        )
        task = asyncio.create_task(run.execute(), name=f"run {turn.id}")
        self._active[turn.id] = _Active(run, task)
        task.add_done_callback(lambda _: self._on_run_done(turn.id))
        self._keys.wake()
        return run

    def _queued(self, turn: Turn) -> QueuedEngine:
        try:
            return self.engines.get(turn.engine)
        except AgentsUnavailableError as error:
            raise ProxyError(FailureKind.NOT_IMPLEMENTED, f"Agents cannot run on this gateway: {error}") from None

    def cancel(self, run_id: str) -> bool:
        """Cancel a run for an operator; False if no such run is active."""
        active = self._active.get(run_id)
        if active is None:
            return False
        active.run.stop(CancelReason.OPERATOR)
        return True

    def active_runs(self) -> list[Run]:
        """Runs that wait, run, or release their worker."""
        return [active.run for active in self._active.values()]

    def upstream(self) -> BreakerSnapshot:
        """State of this process's circuit breaker."""
        return self.breaker.snapshot()

    def workers(self) -> list[WorkerSnapshot]:
        return self.engines.workers()

    async def start(self) -> None:
        """Prepare the engines in use."""
        in_use = await self._engines_in_use()
        self.warm = await self.engines.warm(in_use)
        if "agents" in in_use and (engine := self.engines.agents()) is not None:
            self._keeping = asyncio.create_task(keep_workers(self._catalog, engine), name="agent workers")

    async def _engines_in_use(self) -> frozenset[EngineName]:
        """The catalogue's engines; empty if it cannot be read, and their first run prepares them."""
        try:
            return await self._catalog.engines()
        except DatabaseUnavailableError:
            return frozenset()

    async def stop(self) -> None:
        """Reject new runs, wait `drain_timeout_s` for the active ones, stop the rest, and end the workers."""
        self._draining = True
        if self._keeping is not None:
            self._keeping.cancel()
        await self._wait_for_runs(self.drain_timeout_s)
        self.stop_all()
        await self._wait_for_runs(_FORCED_END_S)
        await self.engines.close()

    def stop_all(self) -> None:
        """End every active run with an error for its client."""
        for active in self._active.values():
            active.run.stop(ProxyError(FailureKind.DRAINING, "The gateway is shutting down.", retry_after_s=5))

    def _on_run_done(self, run_id: str) -> None:
        self._active.pop(run_id, None)
        if not self._active:
            self._keys.rest()

    def _with_cost(self, turn: Turn, usage: Usage) -> Usage:
        return self._catalog.priced(turn.model, usage, body=turn.body)

    async def _wait_for_runs(self, timeout_s: float) -> None:
        tasks = [active.task for active in self._active.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
