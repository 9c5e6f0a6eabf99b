"""Live updates of the open pages: one payload for all of them, at most four times a second."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import orjson
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import DatabaseError, close_old_connections

from observability.agent_payloads import McpRow, newest_by_server
from observability.cluster.load import total_load
from observability.cluster.states import MemberState, process_row, row_of, total_queue, worst_upstream
from observability.live.overview import read_overview
from observability.payloads import (
    Gone,
    Overview,
    Payload,
    ProcessRow,
    Queue,
    RunRow,
    Snapshot,
    Upstream,
    WorkerRow,
    run_row,
)
from observability.service import Service
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace

logger = logging.getLogger(__name__)

TICK_S = 0.25
"""Minimum interval of messages to a page."""

QUIET_S = 2.0
"""Interval of messages without changes, by which a page knows that the connection is alive."""

FIGURES_S = 2.0
"""Minimum interval of database reads; `IDLE_FIGURES_S` if no request has ended since the last one."""

IDLE_FIGURES_S = 10.0
MAX_ROWS = 300
_FIGURES_TIMEOUT_S = 10.0
_WORKERS_S = 1.0
_MAX_OUTCOMES = 2_000

Page = Callable[[str], Awaitable[None]]
"""Sends a payload to one open page."""


class Broadcaster(Listener):
    """Source of the pages of one process; idle while no page is open. Belongs on the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seq = 0
        self._pages: dict[Page, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._figures_task: asyncio.Task[None] | None = None
        self._rows: dict[str, RunRow] = {}
        self._hidden = 0
        self._outcomes: dict[str, Gone] = {}
        self._queue: Queue = {"active": 0, "waiting": 0, "max": 0}
        self._upstream: Upstream = {"state": "closed", "failures": 0, "opened": 0}
        self._workers: list[WorkerRow] = []
        self._workers_at = 0.0
        self._processes: list[ProcessRow] = []
        self._mcp: list[McpRow] = []
        self._peers: list[MemberState] = []
        self._peers_task: asyncio.Task[None] | None = None
        self._figures: Overview | None = None
        self._figures_changed = False
        self._figures_at = float("-inf")
        self._has_ended_runs = True
        self._sent_at = 0.0
        service.recorder.add_listener(self)

    def join(self, page: Page) -> None:
        """Send ticks to the page from now on; the first page starts the ticker."""
        self._pages[page] = None
        if self._task is None:
            self._update_runs()
            self._task = asyncio.create_task(self._run(), name="dashboard ticker")

    def leave(self, page: Page) -> None:
        """Send the page no more ticks; the last page stops the ticker."""
        self._pages.pop(page, None)
        if not self._pages and self._task is not None:
            self._task.cancel()
            self._task = None
            self._rows.clear()
            self._outcomes.clear()

    async def snapshot(self) -> Snapshot:
        """The sum of all messages so far, for a page that has just joined or missed one."""
        if self._figures is None:
            await self._read_figures_outside_request()
        return {
            "type": "snapshot",
            "seq": self._seq,
            "at": time.time(),
            "runs": list(self._rows.values()),
            "hidden": self._hidden,
            "queue": self._queue,
            "upstream": self._upstream,
            "workers": self._workers,
            "processes": self._processes,
            "mcp": self._mcp,
            "load": total_load(
                [self._service.cluster.load(), *(state["load"] for state in self._peers if "load" in state)]
            ),
            "pulse": self._figures,
        }

    async def current_snapshot(self) -> Snapshot:
        """An up-to-date snapshot, for rendering a page, even if no page is open yet."""
        if not self._pages:
            self._workers_at = 0.0
            self._peers = await self._service.cluster.peers()
            self._update_runs()
            if time.monotonic() - self._figures_at >= FIGURES_S:
                await self._read_figures()
        return await self.snapshot()

    def invalidate_figures(self) -> None:
        """Make the next page or tick read the database again."""
        self._figures, self._figures_at, self._has_ended_runs = None, float("-inf"), True

    def ended(self, trace: ActiveTrace) -> None:
        """Record the outcome for the next tick."""
        self._has_ended_runs = True
        if self._pages and len(self._outcomes) < _MAX_OUTCOMES:
            reason = trace.end_reason.value if trace.end_reason else ""
            self._outcomes[trace.id] = {"id": trace.id, "status": trace.status.value, "reason": reason}

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._tick()
            except Exception:  # else one failed tick would end the updates of all pages; the next one tries again
                logger.exception("dashboard.tick_failed")

    async def _tick(self) -> None:
        now = time.monotonic()
        self._refresh_peers()
        runs, gone, other = self._update_runs()
        self._refresh_figures(now)
        figures = self._figures if self._figures_changed else None
        if not (runs or gone or other or figures) and now - self._sent_at < QUIET_S:
            return
        self._seq, self._sent_at, self._figures_changed = self._seq + 1, now, False
        await self._send(
            {
                "type": "tick",
                "seq": self._seq,
                "at": time.time(),
                "runs": runs,
                "gone": gone,
                "hidden": self._hidden,
                "queue": self._queue,
                "upstream": self._upstream,
                "workers": self._workers if other else None,
                "processes": self._processes if other else None,
                "mcp": self._mcp if other else None,
                "pulse": figures,
            }
        )

    def _update_runs(self) -> tuple[list[RunRow], list[Gone], bool]:
        """Changed rows, removed rows, and a flag for the rest.

        The flag: the queue, the upstream, the workers or the processes changed.
        """
        traces, here = self._service.active(), self._service.cluster.identity
        rows = {trace.id: run_row(trace, node=here.node, process=here.label) for trace in traces[:MAX_ROWS]}
        for state in self._peers:
            rows |= {run["id"]: row_of(run) for run in state["runs"][: MAX_ROWS - len(rows)] if run["id"] not in rows}
        total = len(traces) + sum(state["active"] for state in self._peers)
        changed = [row for run_id, row in rows.items() if self._rows.get(run_id) != row]
        gone = [
            self._outcomes.get(run_id, {"id": run_id, "status": "", "reason": ""})
            for run_id in self._rows
            if run_id not in rows
        ]
        self._rows, self._hidden = rows, max(0, total - len(rows))
        self._outcomes.clear()
        return changed, gone, self._update_gateway()

    def _update_gateway(self) -> bool:
        queue = total_queue([self._service.cluster.queue(), *(state["queue"] for state in self._peers)])
        upstream = worst_upstream([self._service.cluster.upstream(), *(state["upstream"] for state in self._peers)])
        workers, processes, mcp = self._workers, self._processes, self._mcp
        # Less often than ticks: it takes a system call for each worker.
        if time.monotonic() - self._workers_at >= _WORKERS_S:
            self._workers_at = time.monotonic()
            members = [self._service.cluster.own_state(), *self._peers]
            workers = [worker for state in members for worker in state["workers"]]
            processes = [process_row(state) for state in members]
            mcp = newest_by_server(row for state in members for row in state.get("mcp", []))
        before = (self._queue, self._upstream, self._workers, self._processes, self._mcp)
        self._queue, self._upstream, self._workers, self._processes, self._mcp = (
            queue,
            upstream,
            workers,
            processes,
            mcp,
        )
        return (queue, upstream, workers, processes, mcp) != before

    def _refresh_peers(self) -> None:
        if self._peers_task is None:
            self._peers_task = asyncio.create_task(self._read_peers(), name="dashboard peers")
            self._peers_task.add_done_callback(self._peers_done)

    def _peers_done(self, _: asyncio.Task[None]) -> None:
        self._peers_task = None

    async def _read_peers(self) -> None:
        async with ThreadSensitiveContext():
            self._peers = await self._service.cluster.peers()
            await sync_to_async(close_old_connections)()

    def _refresh_figures(self, now: float) -> None:
        age = now - self._figures_at
        if self._figures_task is None and (age >= IDLE_FIGURES_S or (self._has_ended_runs and age >= FIGURES_S)):
            self._figures_task = asyncio.create_task(self._read_figures_outside_request(), name="dashboard figures")
            self._figures_task.add_done_callback(self._figures_done)

    def _figures_done(self, _: asyncio.Task[None]) -> None:
        self._figures_task = None

    async def _read_figures_outside_request(self) -> None:
        """Read on a thread of its own, whose connection Django does not close after a request."""
        async with ThreadSensitiveContext():
            await self._read_figures()
            await sync_to_async(close_old_connections)()

    async def _read_figures(self) -> None:
        self._figures_at, self._has_ended_runs = time.monotonic(), False
        try:
            async with asyncio.timeout(_FIGURES_TIMEOUT_S):
                figures = await read_overview()
        except (DatabaseError, TimeoutError) as error:
            logger.warning("dashboard.pulse_failed", extra={"error": type(error).__name__})
            return
        self._figures_changed = self._figures_changed or figures != self._figures
        self._figures = figures

    async def _send(self, payload: Payload) -> None:
        text = encode(payload)
        for page in tuple(self._pages):
            try:
                await page(text)
            except Exception:  # one broken connection must not keep the tick from the other pages
                logger.exception("dashboard.tick_failed")


def encode(payload: Payload) -> str:
    """The payload as JSON text."""
    return orjson.dumps(payload).decode()
