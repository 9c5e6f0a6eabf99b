"""Estimates of a request's usage from its body. Pure."""

from collections.abc import Mapping
from typing import Any

from apiproxy.catalog import CatalogModel, ResolvedModel
from apiproxy.core.events import Usage
from apiproxy.core.input_estimate import estimated_input, input_estimate
from apiproxy.core.limits import KeyLimits
from apiproxy.core.prices import NO_PRICES, PriceTable
from apiproxy.core.pricing import max_micro_usd


def input_tokens(body: Mapping[str, Any], *, context_window: int | None = None) -> int:
    """Upper bound of the body's input tokens."""
    return input_estimate(body, context_window=context_window).most


def max_usage(body: Mapping[str, Any], model: ResolvedModel, table: PriceTable = NO_PRICES) -> tuple[int, int | None]:
    """Tokens and cost in micro-USD (None: no price) to reserve.

    Tokens use the usual input: they are corrected when the run ends, and reserving the upper bound would reject
    ordinary prompts for ever. The cost uses the upper bound, at the highest prices the body allows (`pricing.py`).
    table: prices of other models named in the body.
    """
    estimate = input_estimate(body, context_window=_window(model))
    given = body.get("max_tokens")
    output_tokens = given if isinstance(given, int) and given > 0 else model.max_output_tokens
    if model.prices is None:
        return estimate.usual + output_tokens, None
    micro_usd = max_micro_usd(
        body,
        model.prices,
        input_tokens=estimate.most,
        advisor_tokens=estimate.usual,
        output_tokens=output_tokens,
        table=table,
    )
    return estimate.usual + output_tokens, micro_usd


def estimated_usage(body: Mapping[str, Any], model: ResolvedModel | None) -> Usage:
    """Input to charge if the upstream did not report usage: the upper bound."""
    return estimated_input(body, context_window=None if model is None else _window(model))


def default_max_tokens(limits: KeyLimits, model: ResolvedModel) -> int:
    """Default `max_tokens`: the model's, at most half the key's tokens per minute.

    Otherwise a key with a low limit could not send requests without `max_tokens`.
    """
    if limits.tokens_per_minute is None:
        return model.max_output_tokens
    return max(1, min(model.max_output_tokens, limits.tokens_per_minute // 2))


def _window(model: ResolvedModel) -> int | None:
    return model.context_window if isinstance(model, CatalogModel) else None
