"""In-memory catalog of models and agents, from the database."""

import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save

from apiproxy.catalog.agents import as_pinned, missing_version, pinned
from apiproxy.catalog.resolved import DEFAULT_MAX_OUTPUT_TOKENS, CatalogModel, ResolvedModel, with_aliases
from apiproxy.catalog.rows import ENGINE_NAMES
from apiproxy.catalog.table import Table, read_table
from apiproxy.conf import gateway_settings
from apiproxy.core.events import Usage
from apiproxy.core.prices import PriceTable, charge, without_free_tools
from apiproxy.core.turns import EngineName
from apiproxy.db.guarded_query import DatabaseUnavailableError, QueryGuard
from apiproxy.models import Agent, AgentVersion, McpServer, Model
from apiproxy.models.agent_checks import VERSION_MARK

CACHE_TTL_S = 10.0
"""Maximum age of the cached table. Changes by this process take effect at once."""
MAX_OLD_VERSIONS = 64
"""Versions of agents kept in memory besides the current ones."""

_DATED = re.compile(r"-\d{8}$")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class Catalog:
    """Cached tables of models and agents, reloaded after CACHE_TTL_S or a local change.

    While the database is unavailable, the last table read remains in use.
    """

    def __init__(self, database: QueryGuard, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._database = database
        self._table = Table()
        self._old_versions: dict[tuple[str, int], AgentVersion] = {}  # never changed, so never outdated
        self._changes = 0
        self._lock = threading.Lock()
        # Signals hold weak references: they do not keep a catalog alive.
        for sender in (Model, Agent, McpServer):
            post_save.connect(self._on_change, sender=sender)
            post_delete.connect(self._on_change, sender=sender)

    async def resolve(self, name: str) -> ResolvedModel:
        """Resolve an alias, or an agent's `slug` or `slug@N`; other names are model ids.

        A version that an agent does not have is a disabled model.
        """
        table = await self._current()
        operator_aliases = gateway_settings().model_aliases
        target = operator_aliases.get(name, name)
        known = table.by_name.get(target)
        if known is not None:
            return with_aliases(replace(known, upstream_id=_upstream_id(target, known.id)), operator_aliases)
        agent = await self._agent(table, target)
        if agent is not None:
            return with_aliases(agent, operator_aliases)
        unknown = ResolvedModel(
            id=target, max_output_tokens=DEFAULT_MAX_OUTPUT_TOKENS, engine=gateway_settings().engine
        )
        return with_aliases(unknown, operator_aliases)

    async def models(self) -> tuple[CatalogModel, ...]:
        """All models and the current versions of all agents, newest first."""
        operator_aliases = gateway_settings().model_aliases
        return tuple([with_aliases(model, operator_aliases) for model in (await self._current()).listed])

    async def engines(self) -> frozenset[EngineName]:
        """Engine of the settings, and those of all enabled models and agents."""
        table = await self._current()
        return frozenset({gateway_settings().engine, *(model.engine for model in table.listed if model.enabled)})

    def known(self, model_id: str) -> CatalogModel | None:
        """Model with that id or alias, or agent, in the cached tables. Never waits, never queries."""
        return self._in(self._table, model_id)

    def prices(self) -> PriceTable:
        """Prices in the cached tables. Never waits, never queries."""
        table = self._table
        return PriceTable(
            of=lambda name: None if (known := self._in(table, name)) is None else known.prices,
            all=lambda: [model.prices for model in table.listed if model.prices is not None],
        )

    def priced(self, model_id: str, usage: Usage, *, body: Mapping[str, Any] | None = None) -> Usage:
        """Add cost_usd and unpriced to a usage, from the cached table.

        Never waits, never queries. body: the request's; it decides whether code execution is free.
        """
        charged = charge(model_id, without_free_tools(usage, body or {}), self.prices().of)
        if charged is None:
            return replace(usage, cost_usd=None, unpriced=(f"model={model_id}",))
        return replace(usage, cost_usd=float(charged.usd), unpriced=charged.unpriced)

    def forget(self) -> None:
        """Invalidate the cache. Prices remain available until the next reload."""
        with self._lock:
            self._changes += 1
            self._table = replace(self._table, loaded_at=-math.inf)

    def _in(self, table: Table, name: str) -> CatalogModel | None:
        return table.by_name.get(name) or self._known_agent(table, name)

    async def _agent(self, table: Table, name: str) -> CatalogModel | None:
        """The agent of `slug` or `slug@N`; None if there is no such slug."""
        found = self._known_agent(table, name)
        if found is not None:
            return found
        slug, _, number = name.partition(VERSION_MARK)
        row = table.agent_rows.get(slug)
        if row is None:
            return None
        if not _NUMBER.fullmatch(number) or int(number) > row.version:
            return missing_version(row, number)
        version = await self._database.run(
            lambda: AgentVersion.objects.filter(slug=slug, number=int(number)).afirst(),
            what="cannot read the version of an agent",
        )
        if version is None:
            return missing_version(row, number)
        with self._lock:
            while len(self._old_versions) >= MAX_OLD_VERSIONS:
                del self._old_versions[next(iter(self._old_versions))]
            self._old_versions[slug, version.number] = version
        return pinned(row, version, table.parts)

    def _known_agent(self, table: Table, name: str) -> CatalogModel | None:
        """The agent of `slug` or `slug@N` without a query; None if unknown."""
        slug, mark, number = name.partition(VERSION_MARK)
        entry = table.agents.get(slug)
        if entry is None or not mark:
            return entry
        row = table.agent_rows[slug]
        if number == str(row.version):
            return as_pinned(entry, row.version)
        version = self._old_versions.get((slug, int(number))) if _NUMBER.fullmatch(number) else None
        return None if version is None else pinned(row, version, table.parts)

    async def _current(self) -> Table:
        table = self._table
        if self._monotonic() - table.loaded_at < CACHE_TTL_S:
            return table
        try:
            return await self._database.run(self._read, what="cannot read the model table")
        except DatabaseUnavailableError:
            if not table.by_name:
                raise
            return table

    async def _read(self) -> Table:
        changes = self._changes
        table = await read_table(self._monotonic())
        with self._lock:
            if changes == self._changes:  # else the rows may predate a change
                self._table = table
        return table

    def _on_change(self, *, using: str, **_signal: Any) -> None:
        self.forget()
        # Again after the commit: until then, a concurrent reload may cache the old rows.
        transaction.on_commit(self.forget, using=using)


def _upstream_id(name: str, model_id: str) -> str:
    """The name itself if it is the upstream's own short form of the id, without the date; else the id."""
    return name if _DATED.sub("", model_id) == name else model_id


def stored_engines() -> frozenset[EngineName]:
    """As `Catalog.engines`, read from the database at once, for commands."""
    named = Model.objects.filter(enabled=True).exclude(engine="").order_by().values_list("engine", flat=True).distinct()
    agents: list[EngineName] = ["agents"] if Agent.objects.filter(enabled=True).exists() else []
    return frozenset(
        {gateway_settings().engine, *(ENGINE_NAMES[name] for name in named if name in ENGINE_NAMES), *agents}
    )
