"""`manage.py serve`: runs the gateway, a supervisor with one or more serve processes."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from apiproxy.catalog import stored_engines
from apiproxy.conf import MAX_PROCESSES, GatewaySettings, engine_problem, metrics_dir
from apiproxy.core.turns import ENGINES
from apiproxy.db.checkpoint import checkpoint_now
from apiproxy.engines.sdk.launch import sweep
from apiproxy.keys.bootstrap import FirstSecrets, create_first_secrets, delete_first_secrets, store_env_key
from apiproxy.management.commands.doctor import file_system
from apiproxy.management.doctor import Level, check_timeouts
from apiproxy.models import Model
from apiproxy.server.banner import KEY_VARIABLE, banner_lines
from apiproxy.server.child import ChildSide
from apiproxy.server.first_login import write_first_login
from apiproxy.server.listener import listening_sockets
from apiproxy.server.process import ServeProcess
from apiproxy.server.supervise import Plan, become_supervisor


class Command(BaseCommand):
    """Migrates, creates the first administrator and key, and serves.

    Drains on SIGTERM or SIGINT.
    """

    help = "Runs the gateway: migrates, warms the workers, serves until SIGTERM or SIGINT, then drains."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--processes",
            type=_processes,
            metavar="N",
            help="serve processes on one socket, under a supervisor (default: CLAUDE_PROXY_PROCESSES, which is 1)",
        )
        parser.add_argument("--as-child", type=ChildSide.parse, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Replaces this process with the supervisor; in a child, serves until the drain is over."""
        config: GatewaySettings = settings.GATEWAY
        child: ChildSide | None = options["as_child"]
        processes = options["processes"] or config.processes
        if child is not None:
            self._serve_as_child(config, child, processes)
            return
        if config.credential.kind == "demo" and config.demo_refusal:
            raise CommandError(config.demo_refusal)
        on_terminal = any(os.isatty(descriptor) for descriptor in range(3))
        if not on_terminal:  # a reload by the process manager must not end a start
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            listeners = listening_sockets(config.host, config.port)
        except OSError as error:
            address = f"{config.host}:{config.port}"
            raise CommandError(f"Cannot listen on {address}: is the port in use? ({error.strerror})") from error
        for line in start_warnings(config):
            self.stderr.write(line)
        call_command("migrate", interactive=False, verbosity=0)
        refuse_unsupported_engines(config)
        store_env_key()
        checkpoint_now()
        connections.close_all()
        counts = metrics_dir(config.state_dir, os.getpid())
        sweep(counts.parent)
        become_supervisor(
            Plan(
                listeners=[listener.fileno() for listener in listeners],
                command=[sys.executable, *sys.orig_argv[1:]],
                processes=processes,
                drain_timeout_s=config.drain_timeout_ms / 1000,
                watchdog_s=config.watchdog_ms / 1000,
                on_terminal=on_terminal,
                counts=str(counts),
            )
        )

    def _serve_as_child(self, config: GatewaySettings, child: ChildSide, processes: int) -> None:
        refuse_pending_migrations()
        config = replace(config, seat=child.seat)
        announcement = Announcement(self, config, child.listeners[0].getsockname(), processes)
        process = ServeProcess(config, child, announce=announcement.show)
        process.serve()
        if process.failure is not None:
            raise CommandError(process.failure)


class Announcement:
    """Startup banner, with the first administrator and API key, which are created at that moment.

    One of the processes prints it, when the supervisor asks it to. address: of the listening socket.
    """

    def __init__(self, command: BaseCommand, config: GatewaySettings, address: Any, processes: int) -> None:
        self._command = command
        self._config = config
        self._address = address
        self._processes = processes

    def show(self, warm: bool) -> None:
        """Prints the banner.

        warm: workers could be started. Raises the errors of the database and the console.
        """
        if not warm:
            line = "No worker could be started yet; `manage.py doctor` shows the reason."
            self._command.stderr.write(self._command.style.ERROR(line))
        try:
            first, kept_in = create_first_secrets(agents=self._config.credential.kind == "demo"), None
            try:
                if first and not self._command.stdout.isatty():
                    kept_in = write_first_login(self._config.state_dir, first)
                if first:
                    checkpoint_now()
                self._write(first, kept_in)
            except BaseException:  # including Ctrl-C: a login that was never shown must not stay
                delete_first_secrets(first)
                if kept_in is not None:
                    kept_in.unlink(missing_ok=True)
                raise
        finally:
            connections.close_all()  # this thread is not used again

    def _write(self, first: FirstSecrets, kept_in: Path | None) -> None:
        host, port, *_ = self._address
        stdout = self._command.stdout
        slots = self._processes * sum(self._config.slots(engine) for engine in stored_engines())
        setup = f"{self._processes} processes, {slots} slots in all; SIGHUP replaces them one after another."
        lines = banner_lines(
            f"http://{f'[{host}]' if ':' in host else host}:{port}",
            demo=self._config.credential.kind == "demo",
            first=first,
            kept_in=kept_in,
            style=self._command.style,
            setup=setup if self._processes > 1 else "",
            key_variable="CLAUDE_PROXY_API_KEY" if self._config.api_key else KEY_VARIABLE,
        )
        for line in lines:
            stdout.write(line)
        stdout.flush()


def start_warnings(config: GatewaySettings) -> Iterator[str]:
    """Lines about settings that work, but probably not as they were meant."""
    if settings.IGNORED_VARIABLES:
        names = ", ".join(settings.IGNORED_VARIABLES)
        yield f"Ignored, as set by Kubernetes for a Service: {names}"
    for finding in (
        file_system(config.state_dir),
        check_timeouts(first_byte_ms=config.first_byte_ms, queue_timeout_ms=config.queue_timeout_ms),
    ):
        if finding.level is not Level.OK:
            yield f"{finding.check}: {finding.message}. {finding.hint}"


def refuse_pending_migrations() -> None:
    """Raises CommandError where migrations are missing: a process renewed with new code does not migrate."""
    executor = MigrationExecutor(connections["default"])
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    connections.close_all()
    if pending:
        raise CommandError(f"The database lacks {len(pending)} migrations of this version: restart the gateway.")


def refuse_unsupported_engines(config: GatewaySettings) -> None:
    """Raises CommandError where an enabled model names an engine that the credential cannot serve."""
    for engine in ENGINES:
        problem = engine_problem(config.credential, engine)
        named = list(Model.objects.filter(enabled=True, engine=engine)[:3]) if problem else []
        if named:
            models = ", ".join(map(str, named))
            raise CommandError(f"{models}: the model catalogue names the engine {engine}, but {problem}")


def _processes(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_PROCESSES:
        raise argparse.ArgumentTypeError(f"from 1 to {MAX_PROCESSES}")
    return number
