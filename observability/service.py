"""Observability of one process: tracing, metrics, cluster state.

Started and stopped on the event loop.
"""

import asyncio
import importlib
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections

from apiproxy.core.version import VERSION
from apiproxy.gateway import Gateway
from observability.cluster.cluster import Cluster
from observability.cluster.registry import MemberRegistry
from observability.cluster.states import Identity
from observability.health import Uptime, memory_json
from observability.logs.handler import Logging
from observability.logs.request_log import RequestLog
from observability.metrics import GatewayCollector, Metrics, Seat
from observability.serialize.processes import queue_json
from observability.serialize.values import Json
from observability.tracing import retention
from observability.tracing.model_labels import ModelNames
from observability.tracing.recorder import Listener, Recorder
from observability.tracing.redact import Redactor
from observability.tracing.refusal_sampling import RejectionSampler
from observability.tracing.store import Store
from observability.tracing.trace_builder import ActiveTrace
from observability.tracing.writer import Writer

if TYPE_CHECKING:
    from observability.otel import SpanExport

logger = logging.getLogger(__name__)

STOP_S = 5.0
"""Deadline for writing the last traces when the gateway stops."""

_STALL_CHECK_S = 15.0
_HEALTH_S = 300.0
_PRUNE_S = 3_600.0
_FIRST_PRUNE_S = 60.0
_START_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Values that `proxy_site.operations` takes from the settings.

    cli: the workers' executable, shown to operators. node: name of this machine. process: name of this process, never
    used by another one that shares the database. is_gone: whether the process of that name ran on this machine and has
    ended. seat: index under the supervisor. redis_url: None to exchange state through the database. secrets: values
    that must never be stored. otel_endpoint: receiver of the spans, None to send none.
    """

    log_dir: Path
    retention_days: int
    cli: Path | None = None
    node: str = field(default_factory=socket.gethostname)
    process: str = field(default_factory=lambda: secrets.token_hex(8))
    is_gone: Callable[[str], bool] = lambda _process: False
    seat: Seat | None = None
    redis_url: str | None = None
    secrets: Sequence[str] = ()
    otel_endpoint: str | None = None


class Service:
    """Composition of the parts of this package."""

    def __init__(self, gateway: Gateway, config: Config, *, logging_: Logging | None = None) -> None:
        self.gateway = gateway
        self.config = config
        self.uptime = Uptime.now()
        self.metrics = Metrics(config.seat)
        self.names = ModelNames()
        self._logging = logging_
        self.redactor = Redactor(config.secrets)
        identity = Identity(process=config.process, node=config.node, pid=os.getpid())
        self._store = Store(node=identity.node, process=identity.process, redactor=self.redactor, names=self.names)
        self.writer = Writer(self._store)
        self.refusals = RejectionSampler(self.writer)
        self._otel: SpanExport | None = None
        listeners: list[Listener] = [self.refusals, self.metrics, RequestLog()]
        self.recorder = Recorder(listeners, names=self.names, on_gap=self.metrics.observe_gap)
        self.cluster = Cluster(
            identity,
            MemberRegistry(identity, self._store, is_gone=config.is_gone),
            gateway=gateway,
            recorder=self.recorder,
            redactor=self.redactor,
            redis_url=config.redis_url,
            on_heartbeat=lambda: self.metrics.flush(self.dropped()),
        )
        self.collector = GatewayCollector(version=VERSION)
        self.metrics.registry.register(self.collector)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = threading.Event()

    async def start(self) -> None:
        """Observe runs from now on, and mark those that a dead process left as interrupted.

        Call it before the first request.
        """
        self._start_otel()
        self.gateway.observers.register(self.recorder)
        try:
            async with asyncio.timeout(_START_S):
                await asyncio.to_thread(self._prepare)
                await self.cluster.join()
        except (DatabaseError, TimeoutError) as error:
            # Requests are served all the same, and the writer retries.
            logger.warning("trace.start_failed", extra={"error": type(error).__name__})
        self.writer.start()
        self.cluster.start()
        logger.info("proxy.started", extra={"version": VERSION, "node": self.cluster.identity.node, "pid": os.getpid()})
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work(), name=f"observability {work.__name__}")
            for work in (self._watch_stalls, self._log_health, self._prune)
        ]

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """Write the last traces and stop, in little more than `timeout_s`. Call it after the drain."""
        self.gateway.observers.unregister(self.recorder)
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        lost = await asyncio.to_thread(self.writer.stop, timeout_s)
        await self.cluster.stop()
        if self._otel is not None:
            await asyncio.to_thread(self._otel.stop, timeout_s)
        logger.info("proxy.stopped", extra={"tracesLost": lost, **self.uptime.json()})

    def dropped(self) -> dict[str, int]:
        """Number of lost records by kind."""
        return {
            "trace": self.writer.dropped + self.recorder.overflowed,
            "log_line": self._logging.lost if self._logging else 0,
            "settlement": self.gateway.accounting.dropped,
        }

    def traces_json(self) -> Json:
        """State of the trace writer."""
        return {
            "pending": self.writer.pending,
            "behindMs": round(self.writer.behind_s * 1000),
            "failing": self.writer.failing,
            "dropped": self.writer.dropped + self.recorder.overflowed,
            "refusalsNotKept": self.refusals.skipped,
        }

    def settlements_json(self) -> Json:
        """State of the usage writes."""
        usage = self.gateway.accounting
        return {"pending": usage.pending, "failing": usage.failing, "dropped": usage.dropped}

    async def update_metrics(self) -> None:
        """Update the metrics; call it before they are rendered."""
        self.metrics.flush(self.dropped())
        members = await self.cluster.members()
        self.collector.update([state for state in members if state["node"] == self.config.node])

    def active(self) -> list[ActiveTrace]:
        """Active requests of this process, oldest first."""
        return self.recorder.active()

    def _start_otel(self) -> None:
        if self.config.otel_endpoint is None:
            return
        try:
            # An optional dependency, which may not be installed.
            otel = importlib.import_module("observability.otel")
        except ImportError:
            logger.error("otel.missing", extra={"hint": "pip install 'claude-sdk-proxy[otel]'"})
            return
        self._otel = otel.SpanExport(self.config.otel_endpoint, version=VERSION)
        self.recorder.add_listener(self._otel)

    def _prepare(self) -> None:
        try:
            self._store.load_names()
        finally:
            connections.close_all()

    async def _watch_stalls(self) -> None:
        while True:
            await asyncio.sleep(_STALL_CHECK_S)
            self.recorder.count_stalls()

    async def _log_health(self) -> None:
        while True:
            await asyncio.sleep(_HEALTH_S)
            own = self.cluster.own_state()
            memory = memory_json(own["workers"])
            logger.info(
                "proxy.health",
                extra={
                    **self.uptime.json(),
                    "rssBytes": memory["rssBytes"],
                    "workersRssBytes": memory["workersRssBytes"],
                    "workers": len(memory["workers"]),
                    "queue": queue_json(own["queue"]),
                    "activeRequests": len(self.active()),
                    "traces": self.traces_json(),
                    "settlements": self.settlements_json(),
                    "logLinesLost": self.dropped()["log_line"],
                },
            )

    async def _prune(self) -> None:
        pause_s = _FIRST_PRUNE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = _PRUNE_S
            try:
                done = await asyncio.to_thread(self._prune_now)
            except DatabaseError as error:  # locked or unavailable: retried in an hour
                logger.warning("trace.prune_failed", extra={"error": type(error).__name__})
            else:
                if done.any:
                    logger.info("trace.pruned", extra=asdict(done))

    def _prune_now(self) -> retention.Pruned:
        try:
            return retention.prune(trace_days=self.config.retention_days, stopped=self._stopping.is_set)
        finally:
            connections.close_all()
