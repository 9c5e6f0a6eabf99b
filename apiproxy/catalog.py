"""In-memory model catalog: alias resolution and prices, from the model table."""

import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.db import transaction
from django.db.models.signals import post_delete, post_save

from apiproxy.conf import gateway_settings
from apiproxy.core.agents import AgentSpec
from apiproxy.core.events import Usage
from apiproxy.core.prices import Prices, PriceTable, charge, without_free_tools
from apiproxy.core.turns import ENGINES, EngineName
from apiproxy.db.guarded_query import DatabaseUnavailableError, QueryGuard
from apiproxy.models import Model
from apiproxy.models.names import read_rates

DEFAULT_MAX_OUTPUT_TOKENS = 32_000
"""For models not in the table: the lowest limit since Claude 4 (Opus 4 and 4.1).

The upstream rejects values above a model's limit.
Source: https://platform.claude.com/docs/en/about-claude/models/overview
"""

CACHE_TTL_S = 10.0
"""Maximum age of the cached table. Changes by this process take effect at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model after alias resolution.

    upstream_id: sent to the upstream, the short form of `id` if the request has that; "" for `id`. names: its id and
    aliases. prices: None if unknown. engine: the model's own, else that of the settings;
    `agents` for an agent, whose version is `agent`.
    """

    id: str
    max_output_tokens: int
    upstream_id: str = ""
    prices: Prices | None = None
    names: frozenset[str] = frozenset()
    enabled: bool = True
    engine: EngineName = "sdk"
    agent: AgentSpec | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogModel(ResolvedModel):
    """A model from the table, with the fields of the Models API. None: unknown."""

    display_name: str
    family: str
    lifecycle: str
    created_at: datetime | None
    retires_at: datetime | None
    context_window: int | None
    description: str = ""
    capabilities: Mapping[str, Any] | None = field(default=None, hash=False)


_ENGINES: Mapping[str, EngineName] = {name: name for name in ENGINES}
_DATED = re.compile(r"-\d{8}$")
_M = TypeVar("_M", bound=ResolvedModel)


@dataclass(frozen=True, slots=True)
class _Table:
    loaded_at: float = -math.inf
    models: tuple[CatalogModel, ...] = ()  # newest first
    by_name: Mapping[str, CatalogModel] = field(default_factory=dict)


class Catalog:
    """Cached model table, reloaded after CACHE_TTL_S or a local change.

    While the database is unavailable, the last table read remains in use.
    """

    def __init__(self, database: QueryGuard, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._database = database
        self._table = _Table()
        self._changes = 0
        self._lock = threading.Lock()
        # Signals hold weak references: they do not keep a catalog alive.
        post_save.connect(self._on_change, sender=Model)
        post_delete.connect(self._on_change, sender=Model)

    async def resolve(self, name: str) -> ResolvedModel:
        """Resolve an alias of the operator or the table; other names are model ids."""
        table = await self._current()
        operator_aliases = gateway_settings().model_aliases
        target = operator_aliases.get(name, name)
        known = table.by_name.get(target)
        if known is not None:
            return _with_aliases(replace(known, upstream_id=_upstream_id(target, known.id)), operator_aliases)
        unknown = ResolvedModel(
            id=target, max_output_tokens=DEFAULT_MAX_OUTPUT_TOKENS, engine=gateway_settings().engine
        )
        return _with_aliases(unknown, operator_aliases)

    async def models(self) -> tuple[CatalogModel, ...]:
        """All models, newest first."""
        operator_aliases = gateway_settings().model_aliases
        return tuple([_with_aliases(model, operator_aliases) for model in (await self._current()).models])

    async def engines(self) -> frozenset[EngineName]:
        """Engine of the settings, and those of all enabled models."""
        table = await self._current()
        return frozenset({gateway_settings().engine, *(model.engine for model in table.models if model.enabled)})

    def known(self, model_id: str) -> CatalogModel | None:
        """Model with that id or alias in the cached table. Never waits, never queries."""
        return self._table.by_name.get(model_id)

    def prices(self) -> PriceTable:
        """Prices in the cached table. Never waits, never queries."""
        table = self._table
        return PriceTable(
            of=lambda name: None if (known := table.by_name.get(name)) is None else known.prices,
            all=lambda: [model.prices for model in table.models if model.prices is not None],
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
            self._table = _Table(-math.inf, self._table.models, self._table.by_name)

    async def _current(self) -> _Table:
        table = self._table
        if self._monotonic() - table.loaded_at < CACHE_TTL_S:
            return table
        try:
            return await self._database.run(self._read, what="cannot read the model table")
        except DatabaseUnavailableError:
            if not table.models:
                raise
            return table

    async def _read(self) -> _Table:
        changes, loaded_at = self._changes, self._monotonic()
        models = tuple([_catalog_model(row) async for row in Model.objects.all()])
        aliases = {name: model for model in models for name in model.names}
        table = _Table(loaded_at, models, aliases | {model.id: model for model in models})
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


def _with_aliases(model: _M, operator_aliases: Mapping[str, str]) -> _M:
    """Add the operator's aliases of the model to its names."""
    names = model.names | {model.id}
    return replace(model, names=names | {alias for alias, target in operator_aliases.items() if target in names})


def _catalog_model(row: Model) -> CatalogModel:
    return CatalogModel(
        id=row.id,
        max_output_tokens=row.max_output_tokens,
        prices=_prices(row),
        names=frozenset({row.id, *row.aliases}),
        enabled=row.enabled,
        engine=_ENGINES.get(row.engine, gateway_settings().engine),
        display_name=row.display_name,
        family=row.family,
        lifecycle=row.lifecycle,
        created_at=row.created_at,
        retires_at=row.retires_at,
        context_window=row.context_window,
        description=row.description,
        capabilities=row.capabilities,
    )


def _prices(row: Model) -> Prices | None:
    if row.input_price is None or row.output_price is None:
        return None
    return Prices(
        input=row.input_price,
        output=row.output_price,
        # Default ratios: the upstream's own for most models.
        cache_write=_price_or(row.cache_write_price, row.input_price * Decimal("1.25")),
        cache_write_1h=_price_or(row.cache_write_1h_price, row.input_price * 2),
        cache_read=_price_or(row.cache_read_price, row.input_price * Decimal("0.1")),
        long_prompt_above=row.long_prompt_above,
        long_prompt_factor=row.long_prompt_factor,
        long_prompt_output_factor=row.long_prompt_output_factor,
        speeds=read_rates(row.speed_factors),
        geos=read_rates(row.geo_factors),
        tiers=read_rates(row.tier_factors),
        tools=read_rates(row.tool_prices),
    )


def _price_or(price: Decimal | None, default: Decimal) -> Decimal:
    return default if price is None else price


def stored_engines() -> frozenset[EngineName]:
    """As `Catalog.engines`, read from the database at once, for commands."""
    named = Model.objects.filter(enabled=True).exclude(engine="").order_by().values_list("engine", flat=True).distinct()
    return frozenset({gateway_settings().engine, *(_ENGINES[name] for name in named if name in _ENGINES)})
