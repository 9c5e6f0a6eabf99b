"""`manage.py serve`: the whole gateway, in one process or in several under a supervisor."""

import argparse
import asyncio
import os
import shutil
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from apiproxy.bootstrap import FirstSecrets, bootstrap
from apiproxy.conf import MAX_PROCESSES, GatewaySettings, metrics_dir
from apiproxy.engine.launch import sweep
from apiproxy.management.child import ChildSide
from apiproxy.management.gateway import Gateway
from apiproxy.management.supervisor import Supervisor
from apiproxy.management.welcome import welcome
from apiproxy.wire.connections import listening_socket


class Command(BaseCommand):
    """Migrates, makes the first administrator and key, warms the workers, serves, and drains on SIGTERM or SIGINT."""

    help = "Runs the gateway: migrates, warms the workers, serves until SIGTERM or SIGINT, then drains."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """The number of processes."""
        parser.add_argument(
            "--processes",
            type=_processes,
            metavar="N",
            help="serve processes on one socket, under a supervisor (default: CLAUDE_PROXY_PROCESSES, which is 1)",
        )
        parser.add_argument("--as-child", type=ChildSide.parse, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Serves until a signal; returns when the last worker is gone."""
        config: GatewaySettings = settings.GATEWAY
        child: ChildSide | None = options["as_child"]
        if child is not None:
            self._serve_as_child(config, child)
            return
        processes = options["processes"] or config.processes
        try:
            listener = listening_socket(config.host, config.port)
        except OSError as error:
            address = f"{config.host}:{config.port}"
            raise CommandError(f"Cannot listen on {address}: is the port taken? ({error.strerror})") from error
        call_command("migrate", interactive=False, verbosity=0)
        announcement = Announcement(self, config, bootstrap(), listener.getsockname())
        if processes == 1:
            _serve(Gateway(config, listener, child=None, ready=announcement.show))
            return
        connections.close_all()  # and its pool: the supervisor needs none
        supervisor = Supervisor(
            listener=listener,
            processes=processes,
            drain_timeout_s=config.drain_timeout_ms / 1000,
            say=self.stderr.write,
            ready=lambda warm: announcement.show(warm, processes=processes),
        )
        counts = metrics_dir(config.state_dir, os.getpid())
        sweep(counts.parent)
        shutil.rmtree(counts, ignore_errors=True)
        try:
            asyncio.run(supervisor.run())
        finally:
            shutil.rmtree(counts, ignore_errors=True)
        if supervisor.failure is not None:
            raise CommandError(supervisor.failure)

    def _serve_as_child(self, config: GatewaySettings, child: ChildSide) -> None:
        refuse_pending_migrations()
        config = settings.GATEWAY = replace(config, seat=child.seat)
        _serve(Gateway(config, child.listener, child=child, ready=child.tell))


class Announcement:
    """What the operator reads when the gateway takes requests. address: the socket's."""

    def __init__(self, command: BaseCommand, config: GatewaySettings, first: FirstSecrets, address: Any) -> None:
        self._command = command
        self._config = config
        self._first = first
        self._address = address

    def show(self, warm: bool, *, processes: int = 1) -> None:
        """Writes it. warm: workers could be started."""
        host, port, *_ = self._address
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        write, style = self._command.stdout.write, self._command.style
        if not warm:
            self._command.stderr.write(style.ERROR("No worker could be started yet; `manage.py doctor` says why."))
        demo = self._config.credential.kind == "demo"
        slots = processes * self._config.max_concurrent
        setup = f"{processes} processes, {slots} slots in all; SIGHUP renews them one after another."
        lines = welcome(url, demo=demo, first=self._first, style=style, setup=setup if processes > 1 else "")
        for line in lines:
            write(line)
        self._command.stdout.flush()


def refuse_pending_migrations() -> None:
    """Raises CommandError where the database is older than the code: a renewal with new code does not migrate."""
    executor = MigrationExecutor(connections["default"])
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    connections.close_all()
    if pending:
        raise CommandError(f"The database lacks {len(pending)} migrations of this version: restart the gateway.")


def _serve(gateway: Gateway) -> None:
    gateway.serve()
    if gateway.failure is not None:
        raise CommandError(gateway.failure)


def _processes(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_PROCESSES:
        raise argparse.ArgumentTypeError(f"from 1 to {MAX_PROCESSES}")
    return number
