"""Maximum usage of an agent's run, to reserve. Pure."""

from collections.abc import Mapping
from typing import Any

from apiproxy.catalog import DEFAULT_MAX_OUTPUT_TOKENS, CatalogModel
from apiproxy.core.agents import AgentSpec
from apiproxy.core.input_estimate import input_estimate
from apiproxy.core.limits import MICRO, KeyLimits
from apiproxy.core.prices import NO_PRICES, PriceTable
from apiproxy.core.pricing import max_micro_usd

_UNKNOWN_WINDOW = 1_000_000
"""Context window of models of unknown size: the largest."""
_LONGEST_CACHE: Mapping[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
"""The most expensive way to cache a prompt."""


def max_agent_usage(
    agent: AgentSpec,
    body: Mapping[str, Any],
    model: CatalogModel | None,
    limits: KeyLimits,
    table: PriceTable = NO_PRICES,
) -> tuple[int, int | None]:
    """Tokens and cost in micro-USD (None: no price) to reserve. model: the agent's, None if it is unknown."""
    return _tokens(agent, body, model, limits), _micro_usd(agent, model, table)


def _tokens(agent: AgentSpec, body: Mapping[str, Any], model: CatalogModel | None, limits: KeyLimits) -> int:
    """Tokens if every call had the size of the first, at most half the key's tokens per minute: as with the default
    `max_tokens`, a key with a low limit could otherwise never use the agent. The rest counts when the run ends.
    """
    window = None if model is None else model.context_window
    prompt = input_estimate({**body, "system": [body.get("system"), agent.system]}, context_window=window)
    each = prompt.usual + _max_output(body, model)
    if limits.tokens_per_minute is None:
        return agent.max_calls * each
    return min(agent.max_calls * each, max(each, limits.tokens_per_minute // 2))


def _micro_usd(agent: AgentSpec, model: CatalogModel | None, table: PriceTable) -> int | None:
    """Reserved cost: the run's budget, which the engine enforces.

    Without a budget, the cost of all calls with a full context window each.
    """
    if model is None or model.prices is None:
        return None
    if agent.budget_usd is not None:
        return int(agent.budget_usd * MICRO)
    window = model.context_window or _UNKNOWN_WINDOW
    each = max_micro_usd(
        _LONGEST_CACHE,
        model.prices,
        input_tokens=window,
        advisor_tokens=0,
        output_tokens=model.max_output_tokens,
        table=table,
    )
    return agent.max_calls * each


def _max_output(body: Mapping[str, Any], model: CatalogModel | None) -> int:
    given = body.get("max_tokens")
    if isinstance(given, int) and given > 0:
        return given
    return DEFAULT_MAX_OUTPUT_TOKENS if model is None else model.max_output_tokens
