"""Serve process: event loop, signals, start, drain and stop."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from asgiref.typing import ASGIApplication
from django.conf import settings
from django.utils.module_loading import import_string

from apiproxy.conf import GatewaySettings
from apiproxy.core.lifecycle import BackgroundService, Lifecycle
from apiproxy.core.offload import SWITCH_INTERVAL_S
from apiproxy.gateway import Gateway, install
from apiproxy.http.body import MAX_BODY_BYTES
from apiproxy.server.child import ChildSide
from apiproxy.server.daphne import GatewayServer
from apiproxy.server.demo import DemoUpstream
from apiproxy.server.demo_handbook import DemoHandbook
from apiproxy.server.garbage import GarbageCollector

logger = logging.getLogger(__name__)

START_S = 120.0
"""Start timeout, so that a hanging start ends in an error without the operator's process manager."""
_CLEANUP_S = 10.0
"""Limit for stopping the services after a failed start; then the process exits."""
_FLUSH_S = 2.0
"""Time to send the last responses after the drain."""
_DEMO_HEADERS = ((b"x-proxy-demo", b"1"),)
"""Added to every response of a demo: marks the stand-in's answers."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ServeProcess:
    """Serve process on the listening sockets of its supervisor.

    From the start of the services to the end of the drain.
    announce: prints the banner, in a thread, when the supervisor asks this process to. Its argument: workers could be
    started. An exception in it counts as a failed start. failure: why the start failed, for the operator.
    """

    def __init__(self, config: GatewaySettings, child: ChildSide, *, announce: Callable[[bool], None]) -> None:
        self._config = config
        self._child = child
        self._announce = announce
        self._lifecycle = Lifecycle()
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None
        self._stopping = False
        self.failure: str | None = None
        application: ASGIApplication = import_string(settings.ASGI_APPLICATION)
        # After that import, which sets up Django again, and its logging with it.
        self._services: list[BackgroundService] = []
        if config.credential.kind == "demo":
            demo, handbook = DemoUpstream(), DemoHandbook()
            self._services += [demo, handbook]
            allowed = replace(config.allowed, private_hosts=(*config.allowed.private_hosts, handbook.address))
            config = replace(config, credential=demo.credential, allowed=allowed)
        self._gateway = Gateway(
            config,
            services=[import_string(it) for it in settings.GATEWAY_BACKGROUND_SERVICES],
            close_connections=self._close_connections,
        )
        install(self._gateway)
        runtime = self._gateway.runtime
        self._services += [self._gateway, GarbageCollector(lambda: len(runtime.active_runs()))]
        self._server = GatewayServer(
            application=application,
            signal_handlers=False,
            ready_callable=self._on_loop_ready,
            request_buffer_size=MAX_BODY_BYTES + 1,  # a body in one piece is not copied
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
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # handled by the supervisor
        self._child.watch(loop, on_leave=self._on_leave, on_announce=self._on_announce)
        self._spawn(self._start(), loop)

    def _on_signal(self) -> None:
        if self._stopping:
            logger.warning("gateway.drain_cut_short")
            self._gateway.runtime.stop_all()
            return
        self._stopping = True
        if self._leaving is not None:
            self._leaving.cancel()  # `_leave` then stops
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
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a service too: the process must end
            # Noted before it is logged: the logging may be what failed, and an exception here would leave the process
            # listening for ever.
            if not self._stopping:
                self.failure = f"The gateway could not start: {_described(error)}"
            with contextlib.suppress(Exception):
                logger.critical("gateway.start_failed", exc_info=error)
            self._gateway.runtime.drain_timeout_s = 0.0
            try:
                async with asyncio.timeout(_CLEANUP_S):
                    await self._lifecycle.stop()
            except TimeoutError:
                pass  # the end of the process cleans up the rest
            finally:
                self._server.stop()

    async def _open(self) -> None:
        await self._lifecycle.start(self._services)
        if self._stopping:
            return
        # Before it listens: the supervisor may still answer connections with 503.
        self._child.report_started(self._gateway.runtime.warm)
        self._server.listen(self._child.listeners, shared=self._child.shared)

    async def _close_connections(self) -> None:
        await self._server.close_sockets()
        await self._server.answered(timeout_s=_FLUSH_S)

    def _on_announce(self, warm: bool) -> None:
        if self.failure is None and not self._stopping:
            self._spawn(self._announced(warm), asyncio.get_running_loop())

    async def _announced(self, warm: bool) -> None:
        try:
            await asyncio.to_thread(self._announce, warm)  # hashing a password blocks, and so may a terminal
        except Exception as error:  # a gateway without its first login must not go on
            self.failure = f"The gateway could not start: {_described(error)}"
            logger.critical("gateway.start_failed", exc_info=error)
            self._stopping = True
            await self._stop(drain_s=0.0)
        else:
            self._child.report_announced()

    async def _leave(self) -> None:
        """Drains without losing a request: those on open connections are still answered."""
        left_s = 0.0
        try:
            await self._server.leave(timeout_s=self._config.drain_timeout_ms / 1000)
        except asyncio.CancelledError:  # cut short by a stop signal
            left_s = self._config.drain_timeout_ms / 1000
        self._stopping = True
        await self._stop(drain_s=left_s)

    async def _stop(self, drain_s: float | None = None) -> None:
        if drain_s is not None:
            self._gateway.runtime.drain_timeout_s = drain_s
        try:
            await self._lifecycle.stop()
        finally:
            self._server.stop()


def _described(error: BaseException) -> str:
    """One-line description of an error."""
    if isinstance(error, TimeoutError) and not str(error):
        return f"it took more than {START_S:.0f} s."
    return str(error) or type(error).__name__
