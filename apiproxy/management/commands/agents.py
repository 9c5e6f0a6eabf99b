"""`manage.py agents`: agents and MCP servers as a YAML file, and a new encryption of stored secrets."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apiproxy.core.encryption import UnreadableError
from apiproxy.management.agents.entries import EntryError, entry_of_agent, entry_of_server, read_entries
from apiproxy.management.agents.importing import import_entries
from apiproxy.management.agents.yaml_text import MAX_FILE_BYTES, YamlError, dump, load
from apiproxy.models import Agent, McpServer

_STANDARD = "-"
_BY = "agents import"


class Command(BaseCommand):
    """Exports and imports agents and MCP servers; encrypts their secrets anew."""

    help = "Exports or imports agents and MCP servers as YAML, or encrypts the servers' secrets with the current key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="export|import|reencrypt")
        exporting = actions.add_parser("export", help="Export all agents and servers; secrets are masked.")
        exporting.add_argument("file", nargs="?", default=_STANDARD, help="`-`, the default: standard output.")
        importing = actions.add_parser(
            "import",
            help="Create or change the agents and servers of the file, all or none. Masked secrets stay as stored.",
        )
        importing.add_argument("file", help="`-`: standard input.")
        importing.add_argument("--dry-run", action="store_true", help="Only print the changes.")
        actions.add_parser(
            "reencrypt", help="Encrypt all stored secrets again, after a change of CLAUDE_PROXY_SECRET_KEY."
        )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Runs one of the actions. Raises CommandError for a file that cannot be used."""
        match action:
            case "export":
                self._export(options["file"])
            case "import":
                self._import(options["file"], dry_run=options["dry_run"])
            case _:
                self._reencrypt()

    def _export(self, file: str) -> None:
        servers = list(McpServer.objects.all())
        document = {
            "mcp_servers": [entry_of_server(server) for server in servers],
            "agents": [entry_of_agent(agent) for agent in Agent.objects.all()],
        }
        for server in servers:
            try:
                server.read_secrets()
            except UnreadableError as error:
                self.stderr.write(f"mcp_server {server.name}: its secrets were left out: {error}.")
        text = dump(document)
        if file == _STANDARD:
            self.stdout.write(text, ending="")
            return
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{file} cannot be written ({error.strerror}).") from error

    def _import(self, file: str, *, dry_run: bool) -> None:
        try:
            lines = import_entries(read_entries(load(_content(file))), by=_BY, dry_run=dry_run)
        except YamlError as error:
            raise CommandError(str(error)) from None
        except EntryError as error:
            raise CommandError("Nothing was changed.\n" + "\n".join(error.problems)) from None
        for line in lines or ["Nothing to change."]:
            self.stdout.write(line)
        if dry_run:
            self.stdout.write("Nothing was changed: --dry-run.")

    def _reencrypt(self) -> None:
        count = 0
        with transaction.atomic():
            for server in McpServer.objects.select_for_update().exclude(secrets=""):
                try:
                    server.secrets = server.read_secrets().encrypted()
                except UnreadableError as error:
                    raise CommandError(f"mcp_server {server.name}: {error}. Nothing was changed.") from None
                server.save(update_fields=["secrets"])
                count += 1
        self.stdout.write(f"{count} servers encrypted with the current key.")


def _content(file: str) -> bytes:
    """At most one byte more than may be read. Raises CommandError."""
    if file == _STANDARD:
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    try:
        with Path(file).open("rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file} cannot be read ({error.strerror}).") from error
