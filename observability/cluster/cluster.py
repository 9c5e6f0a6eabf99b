"""This process among those that share the database: it tells how it is, and knows how the others are.

Each has a row in the database, which says that it lives (`register.py`). How it is in detail, and what others ask of
it, goes by Redis where there is one and by that row otherwise: then the others are seen as of up to two seconds ago.
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

from observability.cluster.load import LoadHistory
from observability.cluster.registry import BEAT_S, DEAD_AFTER_S, Beat, Known, Register
from observability.cluster.states import MAX_TOLD_RUNS, Here, MemberState, active_run, holder_of
from observability.payloads import Load, Queue, Upstream, worker_row
from observability.runtime import ProcessRuntime
from observability.tracing.recorder import Recorder

logger = logging.getLogger(__name__)

CANCEL = "cancel"
RETIRE = "retire"
FRESH_S = 1.0
"""What was read of the others is not read again for so long."""

_COMPLAIN_S = 60.0
_LATE_S = 2 * BEAT_S + 1.0


class Cluster:
    """All calls on the event loop's thread. on_beat is called with each beat, for what else is due then."""

    def __init__(
        self,
        here: Here,
        register: Register,
        *,
        port: ProcessRuntime,
        recorder: Recorder,
        redis_url: str | None = None,
        on_beat: Callable[[], object] = lambda: None,
    ) -> None:
        self.here = here
        self._register = register
        self._port = port
        self._recorder = recorder
        self._redis_url = redis_url
        self._on_beat = on_beat
        self._line: Any = None
        self._told = False
        self._line_errors: tuple[type[Exception], ...] = ()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        self._tasks: list[asyncio.Task[None]] = []
        self._began = time.time()
        self._others: list[MemberState] = []
        self._read_at = float("-inf")
        self._beaten_at = 0.0
        self._steady_since = float("inf")
        self._complained_at = float("-inf")
        self._load = LoadHistory()

    @property
    def quick(self) -> bool:
        """Whether the others are seen without delay."""
        return self._line is not None

    async def enter(self) -> None:
        """Takes its place among the others. Raises DatabaseError; `start` goes on all the same."""
        self._lost(await self._in_thread(self._register.enter))

    def start(self) -> None:
        """Tells and listens from now on."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._beat_on(), name="cluster beat")]
        if self._redis_url is None:
            return
        try:
            # An extra: not to be imported where it is not used, since it may not be there.
            module = importlib.import_module("observability.cluster.redis")
        except ImportError:
            logger.error("redis.missing", extra={"hint": "pip install 'claude-sdk-proxy[redis]'"})
            return
        self._line, self._line_errors = module.RedisLine(self._redis_url, process=self.here.process), module.LineError
        self._tasks.append(loop.create_task(self._line.listen(self._obey), name="cluster errands"))
        self._tasks.append(loop.create_task(self._tell_on(module.TELL_S), name="cluster state"))

    async def stop(self) -> None:
        """Leaves; to be called when the last trace is written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._line is not None:
            await self._line.close()
        with contextlib.suppress(DatabaseError):  # the others will notice
            await self._in_thread(self._register.leave)
        await asyncio.get_running_loop().run_in_executor(self._executor, connections.close_all)
        self._executor.shutdown(wait=False)

    def own(self) -> MemberState:
        """How this process is."""
        drafts = self._recorder.active()
        return {
            "process": self.here.process,
            "node": self.here.node,
            "pid": self.here.pid,
            "started": self._began,
            "at": time.time(),
            "rss": psutil.Process(os.getpid()).memory_info().rss,
            "queue": self.queue(),
            "upstream": self.upstream(),
            "active": len(drafts),
            "runs": [active_run(draft, self.here) for draft in drafts[:MAX_TOLD_RUNS]],
            "workers": [worker_row(it, node=self.here.node, process=self.here.label) for it in self._port.workers()],
            "load": self.load(),
        }

    def queue(self) -> Queue:
        """How full this process is."""
        found = self._port.queue()
        return {"active": found.active, "waiting": found.waiting, "max": found.max}

    def load(self) -> Load:
        """How full it was with each of its last beats."""
        return self._load.told()

    def upstream(self) -> Upstream:
        """Whether this process asks the upstream."""
        found = self._port.upstream()
        return {"state": str(found.state), "failures": found.failures, "opened": found.opened}

    async def others(self) -> list[MemberState]:
        """How the others are, as of a second or two ago. Those that have just died, or do not answer, are left out."""
        if time.monotonic() - self._read_at >= FRESH_S:
            self._read_at = time.monotonic()
            try:
                self._others = await self._read(await sync_to_async(self._register.others)())
            except DatabaseError as error:
                self._complain(error)
                self._others = []
        return self._others

    async def everyone(self) -> list[MemberState]:
        """This process, then the others by name."""
        return [self.own(), *sorted(await self.others(), key=lambda state: state["process"])]

    async def cancel(self, run_id: str) -> bool:
        """Ends the request, whichever process has it; False where none has. The others do it within two seconds."""
        if self._port.cancel(run_id):
            return True
        owner = holder_of(await self.others(), run=run_id) or await sync_to_async(self._register.owner_of)(run_id)
        return owner is not None and await self._send(owner, CANCEL, run_id)

    async def retire(self, worker_id: str) -> bool:
        """Ends the worker, whichever process has it; False where none has."""
        if self._port.retire(worker_id):
            return True
        owner = holder_of(await self.others(), worker=worker_id)
        return owner is not None and await self._send(owner, RETIRE, worker_id)

    async def _read(self, known: Sequence[Known]) -> list[MemberState]:
        texts: Sequence[str | None] = [it.state for it in known]
        if self._line is not None and known:
            try:
                told = await self._line.states([it.process for it in known])
            except self._line_errors as error:
                self._complain(error)
            else:
                texts = told
        return [orjson.loads(text) for text in texts if text]

    async def _send(self, process: str, kind: str, subject: str) -> bool:
        if process == self.here.process:
            return False
        if self._line is not None:
            try:
                await self._line.send(process, kind, subject)
            except self._line_errors as error:
                self._complain(error)
            else:
                return True
        await sync_to_async(self._register.send)(process, kind, subject)
        return True

    def _obey(self, kind: str, subject: str) -> None:
        logger.info("cluster.errand", extra={"kind": kind, "subject": subject})
        if kind == CANCEL:
            self._port.cancel(subject)
        elif kind == RETIRE:
            self._port.retire(subject)

    async def _tell_on(self, pause_s: float) -> None:
        while True:
            try:
                await self._line.tell(orjson.dumps(self.own()).decode())
                self._told = True
            except self._line_errors as error:
                self._told = False
                self._complain(error)
            await asyncio.sleep(pause_s)

    async def _beat_on(self) -> None:
        while True:
            try:
                await self._beat()
            except Exception as error:  # noqa: BLE001 - whatever it is: who misses beats counts as dead
                self._steady_since = float("inf")
                self._complain(error)
            await asyncio.sleep(BEAT_S)

    async def _beat(self) -> None:
        self._on_beat()
        self._load.note(self.queue())
        state = "" if self._told else orjson.dumps(self.own()).decode()
        found: Beat = await self._in_thread(lambda: self._register.beat(state, judge=self._may_judge()))
        self._lost(found.lost)
        if found.disowned:
            logger.warning("cluster.disowned", extra={"active": len(self._recorder.active())})
            for draft in self._recorder.active():
                draft.disowned = True
        for kind, subject in found.commands:
            self._obey(kind, subject)

    def _may_judge(self) -> bool:
        """Not after an outage of the database or a sleep of this machine: the others must have had time to speak."""
        now = time.time()
        if not 0 <= now - self._beaten_at <= _LATE_S:
            self._steady_since = now
        self._beaten_at = now
        return now - self._steady_since >= DEAD_AFTER_S

    def _lost(self, names: Sequence[str]) -> None:
        for name in names:
            logger.warning("cluster.process_lost", extra={"lost": name})
            self._port.lost(name)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, _released(work))

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained_at >= _COMPLAIN_S:
            self._complained_at = time.monotonic()
            logger.warning("cluster.unsure", extra={"error": type(error).__name__, "detail": str(error)[:200]})


def _released(work: Callable[[], Any]) -> Callable[[], Any]:
    """Gives a pooled connection back; one to an SQLite file stays open, since opening costs more than a write."""

    def done() -> Any:
        try:
            return work()
        finally:
            if connections["default"].vendor != "sqlite":
                connections["default"].close()

    return done
