"""Models of the catalog from rows of the table. Pure."""

from collections.abc import Mapping
from decimal import Decimal

from apiproxy.catalog.resolved import CatalogModel
from apiproxy.conf import gateway_settings
from apiproxy.core.prices import Prices
from apiproxy.core.turns import ENGINES, EngineName
from apiproxy.models import Model
from apiproxy.models.names import read_rates

ENGINE_NAMES: Mapping[str, EngineName] = {name: name for name in ENGINES}


def catalog_model(row: Model) -> CatalogModel:
    """The model of a row."""
    return CatalogModel(
        id=row.id,
        max_output_tokens=row.max_output_tokens,
        prices=_prices(row),
        names=frozenset({row.id, *row.aliases}),
        enabled=row.enabled,
        engine=ENGINE_NAMES.get(row.engine, gateway_settings().engine),
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
