"""Import of agents and MCP servers: creates and changes what the file names, and leaves the rest."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction

from apiproxy.conf import gateway_settings
from apiproxy.management.agents.entries import AgentEntry, Entries, EntryError, ServerEntry
from apiproxy.models import Agent, McpServer, Model

_SECRETS = ("headers", "env")


def import_entries(entries: Entries, *, by: str, dry_run: bool = False) -> list[str]:
    """Apply the entries in one transaction; returns a line for each object created or changed.

    by: recorded with new versions. dry_run: undo everything. Raises EntryError; then nothing is changed.
    """
    with transaction.atomic():
        problems = [*_repeated("mcp_servers", [it.name for it in entries.mcp_servers])]
        problems += _repeated("agents", [it.slug for it in entries.agents])
        lines: list[str] = []
        for at, server in enumerate(entries.mcp_servers):
            try:
                lines += _import_server(server)
            except ValidationError as error:
                problems += _texts(error, f"mcp_servers.{at}")
        names = _ModelNames()
        for at, agent in enumerate(entries.agents):
            try:
                lines += _import_agent(agent, names, by=by)
            except ValidationError as error:
                problems += _texts(error, f"agents.{at}")
        if problems:
            raise EntryError(problems)
        if dry_run:
            transaction.set_rollback(True)
    return lines


def _import_server(entry: ServerEntry) -> list[str]:
    found = McpServer.objects.filter(pk=entry.name).first()
    server = found or McpServer(name=entry.name)
    before, place = _values(server), server.place
    for name, value in entry:
        if name not in _SECRETS:
            setattr(server, name, value)
    server.clean_fields()
    server.clean()
    server.set_secrets(headers=entry.headers, env=entry.env, moved=found is not None and server.place != place)
    changed = _changed(before, server)
    if found is not None and not changed:
        return []
    server.save()
    return [_line(f"mcp_server {server.name}", created=found is None, changed=changed)]


def _import_agent(entry: AgentEntry, names: "_ModelNames", *, by: str) -> list[str]:
    found = Agent.objects.filter(pk=entry.slug).first()
    agent = found or Agent(slug=entry.slug)
    agent.changed_by = by
    before = _values(agent)
    for name, value in entry:
        setattr(agent, name, value)
    agent.model = names.id_of(entry.model)
    agent.display_name = entry.display_name or entry.slug
    agent.effort = entry.effort or ""
    agent.clean_fields()
    agent.clean()
    changed = _changed(before, agent)
    if found is not None and not changed:
        return []
    version = agent.version
    agent.save()
    made = "" if agent.version == version else f", version {agent.version}"
    return [_line(f"agent {agent.slug}", created=found is None, changed=changed, made=made)]


class _ModelNames:
    """Ids of models by their aliases."""

    def __init__(self) -> None:
        self._ids = {alias: model.pk for model in Model.objects.all() for alias in model.aliases}

    def id_of(self, name: str) -> str:
        target = gateway_settings().model_aliases.get(name, name)
        return self._ids.get(target, target)


def _values(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def _changed(before: dict[str, Any], row: models.Model) -> list[str]:
    return [name for name, value in _values(row).items() if value != before[name]]


def _line(what: str, *, created: bool, changed: Sequence[str], made: str = "") -> str:
    return f"{what} created{made}" if created else f"{what} changed{made}: {', '.join(changed)}"


def _repeated(path: str, names: Sequence[str]) -> Iterator[str]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield f"{path}.{at}: {name!r} is in the file twice"


def _texts(error: ValidationError, path: str) -> list[str]:
    """One line a field; messages have no values of secrets."""
    by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    return [
        f"{path}{'' if field in ('', '__all__') else f'.{field}'}: {' '.join(texts)}"
        for field, texts in by_field.items()
    ]
