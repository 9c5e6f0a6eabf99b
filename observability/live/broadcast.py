"""Tells the open pages what changes: one payload for all of them, a few times a second, however much happens."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import orjson
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import DatabaseError, close_old_connections

from observability.cluster.load import total_load
from observability.cluster.states import MemberState, process_row, row_of, total_queue, worst_upstream
from observability.live.overview import read_pulse
from observability.payloads import (
    Gone,
    Payload,
    ProcessRow,
    Pulse,
    Queue,
    RunRow,
    Snapshot,
    Upstream,
    WorkerRow,
    run_row,
)
from observability.service import Service, holder
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace

logger = logging.getLogger(__name__)

TICK_S = 0.25
"""The least time between two messages to a page."""

QUIET_S = 2.0
"""With nothing to tell, a message all the same, so that a page knows the line is alive."""

PULSE_S = 2.0
"""The least time between two reads of the database; without any request that ended, `IDLE_PULSE_S`."""

IDLE_PULSE_S = 10.0
MAX_ROWS = 300
_PULSE_TIMEOUT_S = 10.0
_WORKERS_S = 1.0
_MAX_OUTCOMES = 2_000

Page = Callable[[str], Awaitable[None]]
"""Sends a payload to one open page."""


class Broadcaster(Listener):
    """The pages' source in one process. Works only while somebody watches; all calls on the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seq = 0
        self._pages: dict[Page, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._pulse_task: asyncio.Task[None] | None = None
        self._rows: dict[str, RunRow] = {}
        self._hidden = 0
        self._outcomes: dict[str, Gone] = {}
        self._queue: Queue = {"active": 0, "waiting": 0, "max": 0}
        self._upstream: Upstream = {"state": "closed", "failures": 0, "opened": 0}
        self._workers: list[WorkerRow] = []
        self._workers_at = 0.0
        self._processes: list[ProcessRow] = []
        self._others: list[MemberState] = []
        self._others_task: asyncio.Task[None] | None = None
        self._pulse: Pulse | None = None
        self._pulse_is_new = False
        self._pulse_at = float("-inf")
        self._something_ended = True
        self._sent_at = 0.0
        service.recorder.add_listener(self)

    @property
    def service(self) -> Service:
        """Whose requests are told of."""
        return self._service

    def join(self, page: Page) -> None:
        """Send ticks to the page from now on; the first page starts the ticker."""
        self._pages[page] = None
        if self._task is None:
            self._look()
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
        """All that the messages so far add up to; for a page that has just joined, or lost one of them."""
        if self._pulse is None:
            await self._read_apart()
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
            "load": total_load(
                [self._service.cluster.load(), *(state["load"] for state in self._others if "load" in state)]
            ),
            "pulse": self._pulse,
        }

    async def figures_now(self) -> Snapshot:
        """A snapshot for a page that is being made; it looks by itself where nobody watches yet."""
        if not self._pages:
            self._workers_at = 0.0
            self._others = await self._service.cluster.peers()
            self._look()
            if time.monotonic() - self._pulse_at >= PULSE_S:
                await self._read_pulse()
        return await self.snapshot()

    def refresh(self) -> None:
        """What is read from the database is read again by the next page, or the next tick."""
        self._pulse, self._pulse_at, self._something_ended = None, float("-inf"), True

    def ended(self, draft: ActiveTrace) -> None:
        """Keeps how it ended for the next tick."""
        self._something_ended = True
        if self._pages and len(self._outcomes) < _MAX_OUTCOMES:
            reason = draft.end_reason.value if draft.end_reason else ""
            self._outcomes[draft.id] = {"id": draft.id, "status": draft.status.value, "reason": reason}

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._tick()
            except Exception:  # a tick that fails, whatever the fault, must not end the pages' line: the next one tries
                logger.exception("dashboard.tick_failed")

    async def _tick(self) -> None:
        now = time.monotonic()
        self._refresh_others()
        runs, gone, other = self._look()
        self._refresh_pulse(now)
        pulse = self._pulse if self._pulse_is_new else None
        if not (runs or gone or other or pulse) and now - self._sent_at < QUIET_S:
            return
        self._seq, self._sent_at, self._pulse_is_new = self._seq + 1, now, False
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
                "pulse": pulse,
            }
        )

    def _look(self) -> tuple[list[RunRow], list[Gone], bool]:
        """Rows that are new or changed, rows that are gone, and whether the queue or the workers have changed."""
        drafts, here = self._service.active(), self._service.cluster.identity
        rows = {draft.id: run_row(draft, node=here.node, process=here.label) for draft in drafts[:MAX_ROWS]}
        for state in self._others:
            rows |= {run["id"]: row_of(run) for run in state["runs"][: MAX_ROWS - len(rows)] if run["id"] not in rows}
        there = len(drafts) + sum(state["active"] for state in self._others)
        changed = [row for run_id, row in rows.items() if self._rows.get(run_id) != row]
        gone = [
            self._outcomes.get(run_id, {"id": run_id, "status": "", "reason": ""})
            for run_id in self._rows
            if run_id not in rows
        ]
        self._rows, self._hidden = rows, max(0, there - len(rows))
        self._outcomes.clear()
        return changed, gone, self._look_at_gateway()

    def _look_at_gateway(self) -> bool:
        queue = total_queue([self._service.cluster.queue(), *(state["queue"] for state in self._others)])
        upstream = worst_upstream([self._service.cluster.upstream(), *(state["upstream"] for state in self._others)])
        workers, processes = self._workers, self._processes
        # A system call for each worker: less often.
        if time.monotonic() - self._workers_at >= _WORKERS_S:
            self._workers_at = time.monotonic()
            everyone = [self._service.cluster.own_state(), *self._others]
            workers = [worker for state in everyone for worker in state["workers"]]
            processes = [process_row(state) for state in everyone]
        before = (self._queue, self._upstream, self._workers, self._processes)
        self._queue, self._upstream, self._workers, self._processes = queue, upstream, workers, processes
        return (queue, upstream, workers, processes) != before

    def _refresh_others(self) -> None:
        if self._others_task is None:
            self._others_task = asyncio.create_task(self._read_others(), name="dashboard others")
            self._others_task.add_done_callback(self._others_done)

    def _others_done(self, _: asyncio.Task[None]) -> None:
        self._others_task = None

    async def _read_others(self) -> None:
        async with ThreadSensitiveContext():
            self._others = await self._service.cluster.peers()
            await sync_to_async(close_old_connections)()

    def _refresh_pulse(self, now: float) -> None:
        age = now - self._pulse_at
        if self._pulse_task is None and (age >= IDLE_PULSE_S or (self._something_ended and age >= PULSE_S)):
            self._pulse_task = asyncio.create_task(self._read_apart(), name="dashboard pulse")
            self._pulse_task.add_done_callback(self._pulse_done)

    def _pulse_done(self, _: asyncio.Task[None]) -> None:
        self._pulse_task = None

    async def _read_apart(self) -> None:
        """Reads outside of any request: on a thread of its own, whose connection nobody else closes."""
        async with ThreadSensitiveContext():
            await self._read_pulse()
            await sync_to_async(close_old_connections)()

    async def _read_pulse(self) -> None:
        self._pulse_at, self._something_ended = time.monotonic(), False
        try:
            async with asyncio.timeout(_PULSE_TIMEOUT_S):
                pulse = await read_pulse()
        except (DatabaseError, TimeoutError) as error:
            logger.warning("dashboard.pulse_failed", extra={"error": type(error).__name__})
            return
        self._pulse_is_new = self._pulse_is_new or pulse != self._pulse
        self._pulse = pulse

    async def _send(self, payload: Payload) -> None:
        text = encoded(payload)
        for page in tuple(self._pages):
            try:
                await page(text)
            except Exception:  # one broken connection must not keep the tick from the other pages
                logger.exception("dashboard.tick_failed")


def encoded(payload: Payload) -> str:
    """The payload as the socket sends it; encoded once, whoever reads it."""
    return orjson.dumps(payload).decode()


class BroadcasterHolder:
    """Where the consumers find the broadcaster of the service that this process has."""

    def __init__(self) -> None:
        self._broadcaster: Broadcaster | None = None

    def current(self) -> Broadcaster | None:
        """The broadcaster; made when first asked for. None where this process serves nothing."""
        service = holder.current()
        if service is None:
            return None
        if self._broadcaster is None or self._broadcaster.service is not service:
            self._broadcaster = Broadcaster(service)
        return self._broadcaster


broadcasters = BroadcasterHolder()
