"""One served process, from its socket to its last worker."""

import asyncio
import gc
import logging
import signal
from dataclasses import replace
from typing import Any

from asgiref.typing import ASGIApplication
from django.conf import settings
from django.utils.module_loading import import_string

from apiproxy import standin
from apiproxy.bookkeeper import bookkeeper
from apiproxy.companions import Companion
from apiproxy.conf import Credential, GatewaySettings
from apiproxy.database_file import database_file
from apiproxy.dialects.anthropic.count_tokens import counters
from apiproxy.keys import keyring
from apiproxy.management.child import ChildSide
from apiproxy.runtime import Runtime, holder
from apiproxy.wire.server import GatewayServer

logger = logging.getLogger(__name__)

_FLUSH_S = 2.0
"""How long the last responses have to leave after the drain."""
_FILE_CHECK_S = 1.0
_BODY_CHUNK_BYTES = 1024 * 1024
_DEMO_PACE_S = 0.02
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Gateway:
    """Serves on the socket of its supervisor, which is told when it takes requests."""

    def __init__(self, config: GatewaySettings, child: ChildSide) -> None:
        self._config = config
        self._child = child
        self._stand_in: standin.StandInServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None
        self._file_watch: asyncio.Task[None] | None = None
        self._stopping = False
        self.failure: str | None = None
        application: ASGIApplication = import_string(settings.ASGI_APPLICATION)
        # After that import, which sets Django up anew and its logging with it.
        self._companions: list[Companion] = [import_string(path)() for path in settings.GATEWAY_COMPANIONS]
        self._server = GatewayServer(
            application=application,
            signal_handlers=False,
            ready_callable=self._on_loop_ready,
            request_buffer_size=_BODY_CHUNK_BYTES,
            server_name="",
            request_timeout_s=config.request_timeout_ms / 1000,
            send_timeout_s=config.stall_timeout_ms / 1000,
            error_body=import_string(settings.GATEWAY_ERROR_BODY),
            socket_paths=tuple(path.encode() for path in settings.GATEWAY_SOCKET_PATHS),
        )

    def serve(self) -> None:
        """Runs the event loop until the drain is over."""
        self._server.run()

    def _on_loop_ready(self) -> None:
        loop = asyncio.get_event_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the supervisor's affair
        self._child.watch(loop, self._on_leave)
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
            await self._open()
        except Exception as error:  # whatever it is, a gateway that cannot start must say so and end
            logger.exception("gateway.start_failed")
            self.failure = f"The gateway could not start: {error}"
            self._server.stop()

    async def _open(self) -> None:
        if self._config.credential.kind == "demo":
            await self._enter_demo()
        database_file.watch()
        self._file_watch = self._spawn(_look_after_database_file(), asyncio.get_running_loop())
        runtime = Runtime(self._config)
        holder.install(runtime)
        for companion in self._companions:
            await companion.start()
        bookkeeper.start()  # gives back what a process that was killed had reserved
        warm = await runtime.pool.warm()
        _keep_for_good()
        self._child.tell(warm)  # first: the supervisor may be taking connections itself, to refuse them
        self._server.listen(self._child.listener, shared=self._child.shared)

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
            for companion in reversed(self._companions):
                await companion.stop()
        except Exception:  # whatever it is, the process must end
            logger.exception("gateway.stop_failed")
        finally:
            if self._file_watch is not None:
                self._file_watch.cancel()
            self._server.stop()


async def _look_after_database_file() -> None:
    """So that /readyz and the log tell of it without a request that needs it."""
    while True:
        await asyncio.sleep(_FILE_CHECK_S)
        await asyncio.to_thread(database_file.lost)


def _keep_for_good() -> None:
    """Takes what is there now out of garbage collection: to look through its 200,000 objects holds all for 0.1 s."""
    gc.collect()
    gc.freeze()
