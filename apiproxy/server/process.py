"""One served process, from its socket to its last worker."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from asgiref.typing import ASGIApplication
from django.conf import settings
from django.utils.module_loading import import_string

from apiproxy import standin
from apiproxy.conf import Credential, GatewaySettings
from apiproxy.core.offload import SWITCH_INTERVAL_S
from apiproxy.db.sqlite_file import database_file
from apiproxy.dialects.anthropic.count_tokens import counters
from apiproxy.http.body import MAX_BODY_BYTES
from apiproxy.keys.cache import keyring
from apiproxy.limits.accounting import usage_accounting
from apiproxy.runs.runtime import Runtime, holder
from apiproxy.server.child import ChildSide
from apiproxy.server.daphne import GatewayServer
from apiproxy.server.lifecycle import BackgroundService

logger = logging.getLogger(__name__)

START_S = 120.0
"""How long a start may take until it counts as failed: an operator's process manager should not have to notice."""
_CLEAR_S = 10.0
"""How long what a failed start leaves may take to end; then the process ends all the same."""
_FLUSH_S = 2.0
"""How long the last responses have to leave after the drain."""
_FILE_CHECK_S = 1.0
_DEMO_PACE_S = 0.02
_DEMO_HEADERS = ((b"x-proxy-demo", b"1"),)
"""In every response of a demo, so that a client can tell the stand-in's answers from a model's."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Gateway:
    """Serves on the socket of its supervisor, which is told when it takes requests.

    announce tells the operator, in a thread, when all processes take requests; the supervisor asks one of them for it.
    Its argument: workers could be started. What it raises is a failure of the start.
    """

    def __init__(self, config: GatewaySettings, child: ChildSide, *, announce: Callable[[bool], None]) -> None:
        self._config = config
        self._child = child
        self._announce = announce
        self._stand_in: standin.StandInServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None
        self._file_watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._opened = False
        self._begun: list[BackgroundService] = []
        self.failure: str | None = None
        application: ASGIApplication = import_string(settings.ASGI_APPLICATION)
        # After that import, which sets Django up anew and its logging with it.
        self._companions: list[BackgroundService] = [import_string(path)() for path in settings.GATEWAY_COMPANIONS]
        self._server = GatewayServer(
            application=application,
            signal_handlers=False,
            ready_callable=self._on_loop_ready,
            request_buffer_size=MAX_BODY_BYTES + 1,  # a body in one piece is not copied,
            server_name="",
            request_timeout_s=config.request_timeout_ms / 1000,
            send_timeout_s=config.stall_timeout_ms / 1000,
            error_body=import_string(settings.GATEWAY_ERROR_BODY),
            key_gate=import_string(settings.GATEWAY_KEY_GATE)(),
            body_memory_bytes=config.body_memory_mb * 1024 * 1024,
            socket_paths=tuple(path.encode() for path in settings.GATEWAY_SOCKET_PATHS),
            extra_headers=_DEMO_HEADERS if config.credential.kind == "demo" else (),
        )

    def serve(self) -> None:
        """Runs the event loop until the drain is over."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._server.run()

    def _on_loop_ready(self) -> None:
        loop = asyncio.get_event_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the supervisor's affair
        self._child.watch(loop, on_leave=self._on_leave, on_announce=self._on_announce)
        self._spawn(self._start(), loop)

    def _on_signal(self) -> None:
        if self._stopping:
            logger.warning("gateway.drain_cut_short")
            holder.current().stop_all()
            return
        self._stopping = True
        if self._leaving is not None:
            self._leaving.cancel()  # it goes on to the stop
        else:
            self._spawn(self._stop(), asyncio.get_event_loop())

    def _on_leave(self) -> None:
        if not self._stopping and self._leaving is None:
            self._leaving = self._spawn(self._leave(), asyncio.get_event_loop())

    def _spawn(self, work: Any, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        task: asyncio.Task[None] = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(START_S):
                await self._open()
        except BaseException as error:
            # Whatever it is, the process must end. Noted before it is logged: the logging may be what failed, and an
            # exception here would leave the process listening for ever.
            if not self._stopping:
                self.failure = f"The gateway could not start: {_described(error)}"
            with contextlib.suppress(Exception):
                logger.critical("gateway.start_failed", exc_info=error)
            try:
                async with asyncio.timeout(_CLEAR_S):
                    await self._clear()
            except TimeoutError:
                pass  # the end of the process ends it
            finally:
                self._server.stop()

    async def _clear(self) -> None:
        """Ends what a failed start had begun, as far as that can be done."""
        ends: list[Callable[[], Awaitable[object]]] = [
            background_service.stop for background_service in reversed(self._begun)
        ]
        if self._stand_in is not None:
            ends.insert(0, self._stand_in.close)
        if self._opened:
            ends.insert(0, lambda: holder.current().drain(0.0))
        for end in ends:
            with contextlib.suppress(Exception):  # the failure of the start is the one to report
                await end()

    async def _open(self) -> None:
        if self._config.credential.kind == "demo":
            await self._enter_demo()
        database_file.watch()
        self._file_watch = self._spawn(_look_after_database_file(), asyncio.get_running_loop())
        runtime = Runtime(self._config)
        holder.install(runtime)
        self._opened = True
        for background_service in self._companions:
            self._begun.append(background_service)
            await background_service.start()
        usage_accounting.start()  # gives back what a process that was killed had reserved
        warm = await runtime.pool.warm()
        _keep_for_good()
        self._child.report_started(warm)  # first: the supervisor may be taking connections itself, to refuse them
        self._server.listen(self._child.listener, shared=self._child.shared)

    def _on_announce(self, warm: bool) -> None:
        if self.failure is None and not self._stopping:
            self._spawn(self._announced(warm), asyncio.get_running_loop())

    async def _announced(self, warm: bool) -> None:
        try:
            await asyncio.to_thread(self._announce, warm)  # a password's digest takes its time, and so may a terminal
        except Exception as error:
            self.failure = f"The gateway could not start: {_described(error)}"
            logger.critical("gateway.start_failed", exc_info=error)
            self._stopping = True
            await self._stop(drain_s=0.0)
        else:
            self._child.report_announced()

    async def _enter_demo(self) -> None:
        self._stand_in = await standin.start(pace_s=_DEMO_PACE_S)
        url = self._stand_in.base_url
        env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "demo"}
        credential = Credential(kind="demo", env=env, base_url=url)
        self._config = settings.GATEWAY = replace(self._config, credential=credential)

    async def _leave(self) -> None:
        """Ends without losing a request: those that come on open connections are still answered."""
        left_s = 0.0
        try:
            await self._server.leave(timeout_s=self._config.drain_timeout_ms / 1000)
        except asyncio.CancelledError:  # a stop cuts it short
            left_s = self._config.drain_timeout_ms / 1000
        self._stopping = True
        await self._stop(drain_s=left_s)

    async def _stop(self, drain_s: float | None = None) -> None:
        try:
            await holder.current().drain(drain_s)
            await self._server.close_sockets()
            await self._server.answered(timeout_s=_FLUSH_S)
            await counters.aclose()
            await keyring.settle()
            if self._stand_in is not None:
                await self._stand_in.close()
            for background_service in reversed(self._companions):
                await background_service.stop()
        except Exception:  # whatever it is, the process must end
            logger.exception("gateway.stop_failed")
        finally:
            if self._file_watch is not None:
                self._file_watch.cancel()
            self._server.stop()


def _described(error: BaseException) -> str:
    """In a line; a timeout has no words of its own."""
    if isinstance(error, TimeoutError) and not str(error):
        return f"it took more than {START_S:.0f} s."
    return str(error) or type(error).__name__


async def _look_after_database_file() -> None:
    """So that /readyz and the log tell of it without a request that needs it."""
    while True:
        await asyncio.sleep(_FILE_CHECK_S)
        await asyncio.to_thread(database_file.lost)


def _keep_for_good() -> None:
    """Takes what is there now out of garbage collection: to look through its 200,000 objects holds all for 0.1 s."""
    gc.collect()
    gc.freeze()
