"""`manage.py doctor`: checks the installation."""

import asyncio
import os
import subprocess
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from apiproxy.catalog import Catalog, stored_engines
from apiproxy.conf import GatewaySettings, gateway_settings
from apiproxy.core.errors import ProxyError
from apiproxy.core.turns import EngineName
from apiproxy.db.guarded_query import QueryGuard
from apiproxy.engines.agents.self_test import jail_report
from apiproxy.engines.sdk.launch import bundled_cli
from apiproxy.keys.cache import usable_keys
from apiproxy.management.doctor import (
    Check,
    Finding,
    Level,
    check_cli,
    check_credential,
    check_database,
    check_engines,
    check_file_system,
    check_folder,
    check_jail,
    check_keys,
    check_live,
    check_memory,
    check_proxy,
    check_timeouts,
    file_system_of,
)
from apiproxy.management.probe import live_turn
from apiproxy.runs.agent_engine import agent_launch

CLI_TIMEOUT_S = 30.0
_DEFAULT_MODEL = "haiku"
_CGROUP = Path("/sys/fs/cgroup")

LiveTurn = Callable[[GatewaySettings, str], Awaitable[str]]
"""Runs one turn through the engine of the settings, with a model id; returns the answer's text. Raises ProxyError."""


class Command(BaseCommand):
    """Prints one line per check, with a hint where needed. Exits with 1 where a check failed."""

    help = "Checks the installation and prints ok, warn or fail for each check. Exits with 1 if a check failed."
    requires_system_checks = ()
    live_turn: LiveTurn = staticmethod(live_turn)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--live", action="store_true", help="Also sends one real request, which the upstream charges."
        )
        parser.add_argument("--model", default=_DEFAULT_MODEL, help="Model of the live request (default: %(default)s).")

    def handle(self, *args: Any, live: bool, model: str, **options: Any) -> None:
        """Runs the checks in order. Raises SystemExit(1) where one failed."""
        findings = []
        for finding in self._findings(live=live, model=model):
            findings.append(finding)
            self._print(finding)
        if any(finding.level is Level.FAIL for finding in findings):
            raise SystemExit(1)

    def _findings(self, *, live: bool, model: str) -> Iterator[Finding]:
        settings = gateway_settings()
        engines = _engines(settings)
        yield check_engines(engines, default=settings.engine, credential=settings.credential)
        if "sdk" in engines:
            yield _cli()
        if "agents" in engines:
            yield _jail(settings)
        yield check_credential(settings.credential, demo_refusal=settings.demo_refusal)
        yield check_folder(Check.STATE, settings.state_dir)
        yield file_system(settings.state_dir)
        yield check_folder(Check.LOGS, settings.log_dir)
        database = _database()
        yield database
        usable = async_to_sync(usable_keys)() if database.level is Level.OK else None
        yield check_keys(usable=usable, env_secret=settings.api_key)
        workers = settings.max_concurrent + settings.warm_workers if "sdk" in engines else 0
        yield check_memory(available_bytes=available_memory(), workers=workers)
        yield check_timeouts(first_byte_ms=settings.first_byte_ms, queue_timeout_ms=settings.queue_timeout_ms)
        yield check_proxy(
            host=settings.host,
            https=django_settings.SESSION_COOKIE_SECURE,
            trusted=settings.trusted_proxies,
            allowed_hosts=django_settings.ALLOWED_HOSTS,
        )
        if live:
            yield self._live(settings, model, migrated=database.level is Level.OK)

    def _live(self, settings: GatewaySettings, name: str, *, migrated: bool) -> Finding:
        if not migrated:
            message, hint = (
                f"not sent: the model table with {name} is not available yet",
                "Run `manage.py migrate` first.",
            )
            return Finding(check=Check.LIVE, level=Level.FAIL, message=message, hint=hint)
        model = async_to_sync(Catalog(QueryGuard()).resolve)(name)
        start = time.monotonic()
        try:
            answer = asyncio.run(self._turn(replace(settings, engine=model.engine), model.id))
        except ProxyError as error:
            return check_live(answer=None, seconds=0, problem=error.message)
        except (FileNotFoundError, RuntimeError) as error:  # the engine cannot be created
            return check_live(answer=None, seconds=0, problem=str(error))
        return check_live(answer=answer, seconds=time.monotonic() - start)

    async def _turn(self, settings: GatewaySettings, model: str) -> str:
        return await self.live_turn(settings, model)

    def _print(self, finding: Finding) -> None:
        style = {Level.OK: self.style.SUCCESS, Level.WARN: self.style.WARNING, Level.FAIL: self.style.ERROR}
        self.stdout.write(f"{style[finding.level](f'{finding.level:<4}')}  {finding.check}: {finding.message}")
        if finding.hint:
            self.stdout.write(f"      {finding.hint}")


def _engines(settings: GatewaySettings) -> frozenset[EngineName]:
    """Engines in use; that of the settings alone while the catalogue cannot be read."""
    try:
        return stored_engines()
    except DatabaseError:  # reported by the check of the database
        return frozenset({settings.engine})


def _cli() -> Finding:
    sdk = version("claude-agent-sdk")
    try:
        with tempfile.TemporaryDirectory() as home:
            environment = {"PATH": os.environ.get("PATH", ""), "HOME": home, "CLAUDE_CONFIG_DIR": home}
            command = [str(bundled_cli()), "--version"]
            completed = subprocess.run(  # noqa: S603 - the CLI that came with the SDK
                command, env=environment, cwd=home, capture_output=True, timeout=CLI_TIMEOUT_S, text=True, check=True
            )
    except (OSError, subprocess.SubprocessError) as error:
        return check_cli(sdk=sdk, reported=None, problem=str(error))
    reported = completed.stdout.split()  # "2.1.330 (Claude Code)"
    return check_cli(sdk=sdk, reported=reported[0] if reported else None, problem="it prints no version")


def _jail(settings: GatewaySettings) -> Finding:
    try:
        report = jail_report(agent_launch(settings), settings.state_dir)
    except FileNotFoundError as error:  # no CLI
        return check_jail(str(error), "")
    return check_jail(report.problem, report.hint)


def _database() -> Finding:
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return check_database(connection.vendor, pending=None, problem=str(error).strip())
    return check_database(connection.vendor, pending=[str(migration) for migration, _ in plan])


def file_system(folder: Path) -> Finding:
    """Finding about the file system of the state folder."""
    mounts = [(mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions(all=True)]
    return check_file_system(file_system_of(folder.resolve(), mounts), vendor=connection.vendor)


def available_memory(cgroup: Path = _CGROUP) -> int:
    """Available memory in bytes: of the machine, or of the container's limit (cgroup 2)."""
    machine = psutil.virtual_memory().available
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such files, or "max"
        return machine
    return min(machine, max(0, limit - used))
