"""Engines of this process, each with its own slots and queue, so that no engine blocks another."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from apiproxy.catalog import Catalog
from apiproxy.conf import GatewaySettings, engine_problem
from apiproxy.core.mcp_status import McpStatuses
from apiproxy.core.turns import EngineName
from apiproxy.engines.agents.engine import AgentEngine
from apiproxy.engines.base import Engine, WorkerSnapshot
from apiproxy.engines.http.engine import HttpEngine
from apiproxy.engines.http.upstream import Upstream
from apiproxy.engines.sdk.launch import LaunchSpec, bundled_cli
from apiproxy.engines.sdk.pool import Pool, PoolLimits
from apiproxy.runs.admission import Admission, QueueSnapshot
from apiproxy.runs.agent_engine import GatewayAgents

logger = logging.getLogger(__name__)

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class QueuedEngine:
    """An engine and the queue in front of it."""

    engine: Engine
    admission: Admission


class AgentsUnavailableError(RuntimeError):
    """The engine of agents cannot be created. The text is for the operator."""


class Engines:
    """Engines in use, created at their first use. Bound to one event loop.

    catalog: models and prices of agents; None if there are none.
    """

    def __init__(self, settings: GatewaySettings, catalog: Catalog | None = None) -> None:
        self.mcp_statuses = McpStatuses()
        self._settings = settings
        self._catalog = catalog
        self._engines: dict[EngineName, QueuedEngine] = {}

    def get(self, name: EngineName) -> QueuedEngine:
        """Engine of that name and its queue.

        Raises FileNotFoundError if `sdk` has no CLI, RuntimeError if `http` cannot use the credential, and
        AgentsUnavailableError.
        """
        queued = self._engines.get(name)
        if queued is None:
            queued = self._engines[name] = self._create(name)
        return queued

    async def warm(self, also: Iterable[EngineName] = ()) -> bool:
        """Prepare the default engine and the others named; False if that failed for one.

        Without the engine of agents the others work. Raises as `get` does for those.
        """
        queued = []
        for name in dict.fromkeys((self._settings.engine, *also)):
            try:
                queued.append(self.get(name))
            except AgentsUnavailableError as error:
                logger.warning("agents.unavailable", extra={"why": str(error)})
        return all(await asyncio.gather(*(it.engine.warm() for it in queued)))

    def agents(self) -> AgentEngine | None:
        """The engine of agents; None unless it is in use."""
        queued = self._engines.get("agents")
        return queued.engine if queued is not None and isinstance(queued.engine, AgentEngine) else None

    @property
    def ready(self) -> bool:
        """True if the default engine can answer."""
        return self.get(self._settings.engine).engine.ready

    def queue_snapshot(self) -> QueueSnapshot:
        """Sums over all engines in use."""
        queues = list(self.queues().values())
        return QueueSnapshot(
            active=sum(queue.active for queue in queues),
            waiting=sum(queue.waiting for queue in queues),
            max=sum(queue.max for queue in queues),
        )

    def queues(self) -> dict[EngineName, QueueSnapshot]:
        """Queue of each engine in use."""
        return {name: queued.admission.snapshot() for name, queued in self._engines.items()}

    def workers(self) -> list[WorkerSnapshot]:
        """Worker processes of all engines."""
        return [worker for queued in self._engines.values() for worker in queued.engine.snapshot()]

    def retire(self, worker_id: str) -> bool:
        """Replace a worker after its turn; False if there is no such worker."""
        return any(queued.engine.retire(worker_id) for queued in self._engines.values())

    async def close(self) -> None:
        """Close all engines in use."""
        for queued in self._engines.values():
            await queued.engine.close()

    def _create(self, name: EngineName) -> QueuedEngine:
        if problem := engine_problem(self._settings.credential, name):
            raise AgentsUnavailableError(problem) if name == "agents" else RuntimeError(problem)
        match name:
            case "sdk":
                return _sdk(self._settings)
            case "http":
                return _http(self._settings)
            case "agents":
                return _agents(self._settings, self._catalog, self.mcp_statuses)
            case _:
                assert_never(name)


def _agents(settings: GatewaySettings, catalog: Catalog | None, statuses: McpStatuses) -> QueuedEngine:
    if catalog is None:
        raise AgentsUnavailableError("there is no catalogue of agents here")
    try:
        engine = GatewayAgents(settings, catalog, statuses)
    except FileNotFoundError as error:
        raise AgentsUnavailableError(str(error)) from error
    admission = Admission(
        max_active=settings.slots("agents"),
        max_waiting=settings.queue_max,
        wait_limit_s=settings.queue_timeout_ms / 1000,
        max_starting=settings.max_starting,
    )
    return QueuedEngine(engine, admission)


def worker_folders(settings: GatewaySettings) -> Path:
    """Parent of the CLI workers' private folders."""
    return settings.state_dir / "workers"


def _http(settings: GatewaySettings) -> QueuedEngine:
    base_url = settings.credential.base_url
    assert base_url is not None, "the settings reject credentials without an address for this engine"
    limit = settings.slots("http")
    upstream = Upstream(base_url, settings.credential.env, max_connections=limit)
    admission = Admission(
        max_active=limit, max_waiting=settings.queue_max, wait_limit_s=settings.queue_timeout_ms / 1000
    )
    return QueuedEngine(HttpEngine(upstream), admission)


def _sdk(settings: GatewaySettings) -> QueuedEngine:
    spec = LaunchSpec(
        cli=bundled_cli(),
        folders=worker_folders(settings),
        max_duration_ms=settings.max_duration_ms,
        stall_timeout_ms=settings.stall_timeout_ms,
        credential_env=settings.credential.env,
    )
    limits = PoolLimits(
        max_busy=settings.max_concurrent,
        spares=settings.warm_workers,
        max_turns=settings.worker_max_turns,
        max_rss_bytes=settings.worker_max_rss_mb * _MEGABYTE,
    )
    admission = Admission(
        max_active=settings.slots("sdk"),
        max_waiting=settings.queue_max,
        wait_limit_s=settings.queue_timeout_ms / 1000,
        max_starting=settings.max_starting,
    )
    return QueuedEngine(Pool(spec=spec, limits=limits), admission)
