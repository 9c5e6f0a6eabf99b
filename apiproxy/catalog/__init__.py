"""Catalog of models and agents: names, engines and prices, from the database."""

from apiproxy.catalog.catalog import CACHE_TTL_S, Catalog, stored_engines
from apiproxy.catalog.resolved import DEFAULT_MAX_OUTPUT_TOKENS, CatalogModel, ResolvedModel, Unavailable

__all__ = [
    "CACHE_TTL_S",
    "DEFAULT_MAX_OUTPUT_TOKENS",
    "Catalog",
    "CatalogModel",
    "ResolvedModel",
    "Unavailable",
    "stored_engines",
]
