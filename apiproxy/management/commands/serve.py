"""`manage.py serve`: the whole gateway in one process."""

import asyncio
import logging
import signal
from dataclasses import replace
from typing import Any

from asgiref.typing import ASGIApplication
from daphne.endpoints import build_endpoint_description_strings
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from apiproxy import standin
from apiproxy.bookkeeper import bookkeeper
from apiproxy.bootstrap import FirstSecrets, bootstrap
from apiproxy.companions import Companion
from apiproxy.conf import Credential, GatewaySettings
from apiproxy.dialects.anthropic.count_tokens import counters
from apiproxy.keys import keyring
from apiproxy.runtime import Runtime, holder
from apiproxy.wire.server import GatewayServer

logger = logging.getLogger(__name__)

_FLUSH_S = 2.0
"""How long the last responses have to leave after the drain."""
_BODY_CHUNK_BYTES = 1024 * 1024
_DEMO_PACE_S = 0.02
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Command(BaseCommand):
    """Migrates, makes the first administrator and key, warms the workers, serves, and drains on SIGTERM or SIGINT."""

    help = "Runs the gateway: migrates, warms the workers, serves until SIGTERM or SIGINT, then drains."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        """Serves until a signal; returns when the last worker is gone."""
        call_command("migrate", interactive=False, verbosity=0)
        gateway = Gateway(self, settings.GATEWAY, bootstrap())
        gateway.serve()
        if gateway.failure is not None:
            raise CommandError(gateway.failure)


class Gateway:
    """One served process, from the first listening socket to the last worker."""

    def __init__(self, command: BaseCommand, config: GatewaySettings, first: FirstSecrets) -> None:
        self._command = command
        self._config = config
        self._first = first
        self._stand_in: standin.StandInServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.failure: str | None = None
        application: ASGIApplication = import_string(settings.ASGI_APPLICATION)
        # After that import, which sets Django up anew and its logging with it.
        self._companions: list[Companion] = [import_string(path)() for path in settings.GATEWAY_COMPANIONS]
        self._server = GatewayServer(
            application=application,
            endpoints=build_endpoint_description_strings(host=config.host, port=config.port),
            signal_handlers=False,
            ready_callable=self._on_loop_ready,
            request_buffer_size=_BODY_CHUNK_BYTES,
            server_name="",
            send_timeout_s=config.stall_timeout_ms / 1000,
        )

    def serve(self) -> None:
        """Runs the event loop until the drain is over."""
        self._server.run()
        if self.failure is None and not self._server.listening_addresses:
            self.failure = f"Cannot listen on {self._config.host}:{self._config.port}: is the port taken?"

    def _on_loop_ready(self) -> None:
        loop = asyncio.get_event_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        self._spawn(self._start(), loop)

    def _on_signal(self) -> None:
        if self._stopping:
            logger.warning("gateway.drain_cut_short")
            holder.current().stop_all()
            return
        self._stopping = True
        self._spawn(self._stop(), asyncio.get_event_loop())

    def _spawn(self, work: Any, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
        runtime = Runtime(self._config)
        holder.install(runtime)
        for companion in self._companions:
            await companion.start()
        bookkeeper.start()  # gives back what a process that was killed had reserved
        warm = await runtime.pool.warm()
        self._announce(warm=warm)

    async def _enter_demo(self) -> None:
        self._stand_in = await standin.start(pace_s=_DEMO_PACE_S)
        url = self._stand_in.base_url
        env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "demo"}
        credential = Credential(kind="demo", env=env, base_url=url)
        self._config = settings.GATEWAY = replace(self._config, credential=credential)

    async def _stop(self) -> None:
        try:
            await holder.current().drain()
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
            self._server.stop()

    def _announce(self, *, warm: bool) -> None:
        host, port = self._server.listening_addresses[0]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        write, style = self._command.stdout.write, self._command.style
        if not warm:
            self._command.stderr.write(style.ERROR("No worker could be started yet; `manage.py doctor` says why."))
        if self._config.credential.kind == "demo":
            write(style.WARNING("DEMO MODE: no upstream credential is set; a built-in stand-in answers."))
            write("Set ANTHROPIC_API_KEY to get answers of a model.")
        if self._first.admin_password:
            write(f"Administrator (shown once): {self._first.admin_name} / {self._first.admin_password}")
        if self._first.api_key:
            write(f"API key (shown once): {self._first.api_key}")
        key = self._first.api_key or "$CLAUDE_PROXY_KEY"
        write(f"Try: {_curl_line(url, key)}")
        write(f"listening on {url}")
        self._command.stdout.flush()


def _curl_line(url: str, key: str) -> str:
    body = '{"model": "sonnet", "max_tokens": 256, "messages": [{"role": "user", "content": "Hello"}]}'
    return f"curl {url}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{body}'"
