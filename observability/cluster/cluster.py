"""Cluster membership of this process: heartbeats, state exchange and commands.

Each member has a row in the database (`registry.py`). States and commands go through Redis if it is configured, else
through the database, where peers' states are up to two seconds old.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import psutil
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections

from apiproxy.gateway import Gateway
from observability.agent_payloads import mcp_row
from observability.cluster.load import LoadHistory
from observability.cluster.registry import DEAD_AFTER_S, HEARTBEAT_S, Heartbeat, MemberRegistry, Peer
from observability.cluster.states import MAX_REPORTED_RUNS, Identity, MemberState, active_run, owner_of, queue_of
from observability.payloads import Load, Queue, Upstream, worker_row
from observability.tracing.recorder import Recorder
from observability.tracing.redact import Redactor

logger = logging.getLogger(__name__)

CANCEL = "cancel"
RETIRE = "retire"
CACHE_S = 1.0
"""Cache lifetime of peer states."""

_WARN_INTERVAL_S = 60.0
_LATE_AFTER_S = 2 * HEARTBEAT_S + 1.0


class Cluster:
    """Membership of this process. All methods must be called on the event loop's thread.

    on_heartbeat: periodic hook, called at each heartbeat.
    """

    def __init__(
        self,
        identity: Identity,
        registry: MemberRegistry,
        *,
        gateway: Gateway,
        recorder: Recorder,
        redactor: Redactor,
        redis_url: str | None = None,
        on_heartbeat: Callable[[], object] = lambda: None,
    ) -> None:
        self.identity = identity
        self._registry = registry
        self._gateway = gateway
        self._runtime = gateway.runtime
        self._recorder = recorder
        self._redactor = redactor
        self._redis_url = redis_url
        self._on_heartbeat = on_heartbeat
        self._redis: Any = None
        self._state_published = False
        self._redis_errors: tuple[type[Exception], ...] = ()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        self._tasks: list[asyncio.Task[None]] = []
        self._started_at = time.time()
        self._peers: list[MemberState] = []
        self._peers_read_at = float("-inf")
        self._last_heartbeat_at = 0.0
        self._stable_since = float("inf")
        self._warned_at = float("-inf")
        self._load = LoadHistory()

    @property
    def has_redis(self) -> bool:
        return self._redis is not None

    async def join(self) -> None:
        """Register this process. Raises DatabaseError; `start` may be called nevertheless and retries."""
        self._handle_lost(await self._in_thread(self._registry.join))

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._heartbeat_loop(), name="cluster heartbeat")]
        if self._redis_url is None:
            return
        try:
            # Optional dependency (the extra `redis`).
            module = importlib.import_module("observability.cluster.redis")
        except ImportError:
            logger.error("redis.missing", extra={"hint": "pip install 'claude-sdk-proxy[redis]'"})
            return
        self._redis = module.RedisTransport(self._redis_url, process=self.identity.process)
        self._redis_errors = module.REDIS_ERRORS
        self._tasks.append(loop.create_task(self._redis.listen(self._execute), name="cluster commands"))
        self._tasks.append(loop.create_task(self._publish_loop(module.PUBLISH_INTERVAL_S), name="cluster state"))

    async def stop(self) -> None:
        """Stop heartbeats and deregister. Call after the last trace has been written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._redis is not None:
            await self._redis.close()
        with contextlib.suppress(DatabaseError):  # peers evict this process after `DEAD_AFTER_S`
            await self._in_thread(self._registry.leave)
        await asyncio.get_running_loop().run_in_executor(self._executor, connections.close_all)
        self._executor.shutdown(wait=False)

    def own_state(self) -> MemberState:
        traces, node, label = self._recorder.active(), self.identity.node, self.identity.label
        return {
            "process": self.identity.process,
            "node": node,
            "pid": self.identity.pid,
            "started": self._started_at,
            "at": time.time(),
            "rss": psutil.Process(os.getpid()).memory_info().rss,
            "queue": self.queue(),
            "upstream": self.upstream(),
            "active": len(traces),
            "runs": [active_run(trace, self.identity) for trace in traces[:MAX_REPORTED_RUNS]],
            "workers": [worker_row(worker, node=node, process=label) for worker in self._runtime.workers()],
            "load": self.load(),
            "mcp": [mcp_row(it, self._redactor, process=label) for it in self._runtime.engines.mcp_statuses.snapshot()],
        }

    def queue(self) -> Queue:
        return queue_of(self._runtime.engines.queues())

    def load(self) -> Load:
        return self._load.as_payload()

    def upstream(self) -> Upstream:
        found = self._runtime.upstream()
        return {"state": str(found.state), "failures": found.failures, "opened": found.opened}

    async def peers(self) -> list[MemberState]:
        """Peer states, up to two seconds old. Excludes silent peers; empty if the database is unavailable."""
        if time.monotonic() - self._peers_read_at >= CACHE_S:
            self._peers_read_at = time.monotonic()
            try:
                self._peers = await self._read_states(await sync_to_async(self._registry.peers)())
            except DatabaseError as error:
                self._warn(error)
                self._peers = []
        return self._peers

    async def members(self) -> list[MemberState]:
        """States of this process and then of its peers, sorted by name."""
        return [self.own_state(), *sorted(await self.peers(), key=lambda state: state["process"])]

    async def cancel(self, run_id: str) -> bool:
        """Cancel a run in any process; False if not found. Peers react within two seconds."""
        if self._runtime.cancel(run_id):
            return True
        owner = owner_of(await self.peers(), run=run_id) or await sync_to_async(self._registry.owner_of)(run_id)
        return owner is not None and await self._send(owner, CANCEL, run_id)

    async def retire(self, worker_id: str) -> bool:
        """Retire a worker in any process; False if not found."""
        if self._runtime.engines.retire(worker_id):
            return True
        owner = owner_of(await self.peers(), worker=worker_id)
        return owner is not None and await self._send(owner, RETIRE, worker_id)

    async def _read_states(self, peers: Sequence[Peer]) -> list[MemberState]:
        texts: Sequence[str | None] = [peer.state for peer in peers]
        if self._redis is not None and peers:
            try:
                states = await self._redis.read_states([peer.process for peer in peers])
            except self._redis_errors as error:
                self._warn(error)
            else:
                texts = states
        return [orjson.loads(text) for text in texts if text]

    async def _send(self, process: str, kind: str, subject: str) -> bool:
        if process == self.identity.process:
            return False
        if self._redis is not None:
            try:
                await self._redis.send_command(process, kind, subject)
            except self._redis_errors as error:
                self._warn(error)
            else:
                return True
        await sync_to_async(self._registry.send_command)(process, kind, subject)
        return True

    def _execute(self, kind: str, subject: str) -> None:
        logger.info("cluster.errand", extra={"kind": kind, "subject": subject})
        if kind == CANCEL:
            self._runtime.cancel(subject)
        elif kind == RETIRE:
            self._runtime.engines.retire(subject)

    async def _publish_loop(self, pause_s: float) -> None:
        while True:
            try:
                await self._redis.publish_state(orjson.dumps(self.own_state()).decode())
                self._state_published = True
            except self._redis_errors as error:
                self._state_published = False
                self._warn(error)
            await asyncio.sleep(pause_s)

    async def _heartbeat_loop(self) -> None:
        while True:
            try:
                await self._heartbeat()
            except Exception as error:  # noqa: BLE001 - the loop must go on, else peers evict this process
                self._stable_since = float("inf")
                self._warn(error)
            await asyncio.sleep(HEARTBEAT_S)

    async def _heartbeat(self) -> None:
        self._on_heartbeat()
        self._load.record(self.queue())
        state = "" if self._state_published else orjson.dumps(self.own_state()).decode()
        result: Heartbeat = await self._in_thread(
            lambda: self._registry.heartbeat(state, allow_eviction=self._may_evict())
        )
        self._handle_lost(result.lost)
        if result.disowned:
            logger.warning("cluster.disowned", extra={"active": len(self._recorder.active())})
            for trace in self._recorder.active():
                trace.disowned = True
        for kind, subject in result.commands:
            self._execute(kind, subject)

    def _may_evict(self) -> bool:
        """Peers may be declared dead only after `DEAD_AFTER_S` of regular heartbeats.

        After a database outage or a suspended machine, their last heartbeats look old although they are alive.
        """
        now = time.time()
        if not 0 <= now - self._last_heartbeat_at <= _LATE_AFTER_S:
            self._stable_since = now
        self._last_heartbeat_at = now
        return now - self._stable_since >= DEAD_AFTER_S

    def _handle_lost(self, names: Sequence[str]) -> None:
        for name in names:
            logger.warning("cluster.process_lost", extra={"lost": name})
            self._gateway.accounting.release_owner(name)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, _with_connection_returned(work))

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned_at >= _WARN_INTERVAL_S:
            self._warned_at = time.monotonic()
            logger.warning("cluster.unsure", extra={"error": type(error).__name__, "detail": str(error)[:200]})


def _with_connection_returned(work: Callable[[], Any]) -> Callable[[], Any]:
    """Return the pooled connection afterwards.

    SQLite's stays open, since opening it costs more than a write.
    """

    def wrapped() -> Any:
        try:
            return work()
        finally:
            if connections["default"].vendor != "sqlite":
                connections["default"].close()

    return wrapped
