"""Maximum cost of a body, and its fields without a price. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from apiproxy.core.events import Usage
from apiproxy.core.limits import MICRO
from apiproxy.core.prices import (
    CODE_EXECUTION,
    NO_PRICES,
    WEB_FETCH,
    WEB_SEARCH,
    Prices,
    PriceTable,
    charge,
    without_free_tools,
)

UNBOUNDED_USES = 10
"""Reserved uses of a web tool without `max_uses`: the server tool loop of a request ends after ten rounds.
Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools"""
ADVISOR_USES = 3
"""Reserved uses of an advisor without `max_uses`. Typical is one per task."""
ADVISOR_OUTPUT_TOKENS = 4_096
"""Reserved output of an advisor without `max_tokens`. Typical are up to 1,800, thinking included.
Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/advisor-tool"""
COMPACTIONS = 1
"""Reserved summaries if compaction is requested: each reads the prompt again and writes output."""

_FEES = {"web_search_": WEB_SEARCH, "web_fetch_": WEB_FETCH, "code_execution_": CODE_EXECUTION}
_WITHOUT_FEE = (
    "custom",
    "bash_",
    "text_editor_",
    "computer_",
    "browser_toolset_",
    "memory_",
    "tool_search_tool_",
    "mcp_toolset",
    "advisor_",
)
"""Type prefixes of tools without a fee per use. Source: `beta_tool_union_param.py` of `anthropic` 2.12
and https://platform.claude.com/docs/en/about-claude/pricing."""
_STANDARD = {
    "speed": ("standard",),
    "inference_geo": ("global",),
    "service_tier": ("auto", "standard_only"),
}
_LIFETIMES = (None, "5m", "1h")


def max_micro_usd(
    body: Mapping[str, Any],
    prices: Prices,
    *,
    input_tokens: int,
    advisor_tokens: int,
    output_tokens: int,
    table: PriceTable = NO_PRICES,
) -> int:
    """Maximum cost of a body in micro-USD.

    prices: prices of the request's model. input_tokens and output_tokens: maximum; advisor_tokens: usual input of an
    advisor. Parts without a price are left out; see `unpriced_fields`.
    """
    usage = _served(body, Usage(output_tokens=output_tokens), prices)
    hour = caches_for_an_hour(body)
    total = max(
        [
            _highest_cost(usage, prices, input_tokens=input_tokens, hour=hour),
            *_fallbacks(body, usage, table, input_tokens, hour),
        ]
    )
    if _compacts(body):
        total += COMPACTIONS * max(
            _cost(replace(usage, input_tokens=input_tokens), prices),
            _highest_cost(usage, prices, input_tokens=input_tokens, hour=hour),
        )
    total += _fees(body, prices)
    total += sum(_advice(tool, usage, table, advisor_tokens) for tool in _tools(body, "advisor_"))
    return int(total * MICRO) + 1


def unpriced_fields(body: Mapping[str, Any], prices: Prices | None, table: PriceTable = NO_PRICES) -> list[str]:
    """Paths of the body's fields whose cost has no price.

    `service_tier: auto` may be served as priority for organisations that bought it; the usage reports it.
    """
    if prices is None:
        return ["model"]
    found = [
        name
        for name, known in (("speed", prices.speeds), ("inference_geo", prices.geos), ("service_tier", prices.tiers))
        if (value := body.get(name)) is not None and not _is_known(value, _STANDARD[name], known)
    ]
    for index, tool in enumerate(_dicts(body.get("tools"))):
        found += [f"tools.{index}.{name}" for name in _unpriced_of_tool(tool, prices, table)]
    fallbacks = body.get("fallbacks")
    for index, entry in enumerate(_dicts(fallbacks)):
        own = _prices_of(entry.get("model"), table)
        if own is None:
            found.append(f"fallbacks.{index}.model")
        elif (speed := entry.get("speed")) is not None and not _is_known(speed, _STANDARD["speed"], own.speeds):
            found.append(f"fallbacks.{index}.speed")
    if any(not _is_lifetime(mark.get("ttl")) for mark in _cache_marks(body)):
        found.append("cache_control.ttl")
    return found


def caches_for_an_hour(body: Mapping[str, Any]) -> bool:
    """True if part of the prompt is to be cached for an hour or an unknown lifetime."""
    return any(mark.get("ttl") not in (None, "5m") for mark in _cache_marks(body))


def _served(body: Mapping[str, Any], usage: Usage, prices: Prices) -> Usage:
    """The usage at the most expensive service tier that the body allows."""
    tier = body.get("service_tier")
    dearest = max(prices.tiers, key=lambda name: prices.tiers[name], default="")
    open_tier = tier not in ("standard_only", "standard") and prices.tiers.get(dearest, Decimal(0)) > 1
    return replace(
        usage,
        speed=_text(body.get("speed")),
        inference_geo=_text(body.get("inference_geo")),
        service_tier=dearest if open_tier else "",
    )


def _highest_cost(usage: Usage, prices: Prices, *, input_tokens: int, hour: bool) -> Decimal:
    written = replace(
        usage, cache_creation_input_tokens=input_tokens, cache_creation_1h_input_tokens=input_tokens if hour else 0
    )
    return max(_cost(written, prices), _cost(replace(usage, input_tokens=input_tokens), prices))


def _cost(usage: Usage, prices: Prices) -> Decimal:
    charged = charge("", usage, lambda _: prices)
    return Decimal(0) if charged is None else charged.usd


def _fallbacks(
    body: Mapping[str, Any], usage: Usage, table: PriceTable, input_tokens: int, hour: bool
) -> Iterator[Decimal]:
    """Cost at each fallback model; a string such as `default` allows all models."""
    fallbacks = body.get("fallbacks")
    if isinstance(fallbacks, str):
        yield from (_highest_cost(usage, prices, input_tokens=input_tokens, hour=hour) for prices in table.all())
        return
    for entry in _dicts(fallbacks):
        prices = _prices_of(entry.get("model"), table)
        if prices is not None:
            speed = _text(entry.get("speed")) or usage.speed
            output = _positive(entry.get("max_tokens")) or usage.output_tokens
            own = replace(usage, speed=speed, output_tokens=output)
            yield _highest_cost(own, prices, input_tokens=input_tokens, hour=hour)


def _fees(body: Mapping[str, Any], prices: Prices) -> Decimal:
    uses = [
        (fee, _uses(tool, UNBOUNDED_USES) if fee != CODE_EXECUTION else 1)
        for prefix, fee in _FEES.items()
        for tool in _tools(body, prefix)
    ]
    used = without_free_tools(Usage(server_tools=tuple(uses)), body).server_tools
    return sum((prices.tools.get(name, Decimal(0)) * Decimal(count) for name, count in used), Decimal(0))


def _advice(tool: Mapping[str, Any], usage: Usage, table: PriceTable, read: int) -> Decimal:
    prices = _prices_of(tool.get("model"), table)
    if prices is None:
        return Decimal(0)
    written = _positive(tool.get("max_tokens")) or ADVISOR_OUTPUT_TOKENS
    caching = tool.get("caching")
    hour = isinstance(caching, Mapping) and caching.get("ttl") not in (None, "5m")
    once = _highest_cost(
        replace(usage, output_tokens=written), prices, input_tokens=read + usage.output_tokens, hour=hour
    )
    return once * _uses(tool, ADVISOR_USES)


def _compacts(body: Mapping[str, Any]) -> bool:
    management = body.get("context_management")
    edits = _dicts(management.get("edits")) if isinstance(management, Mapping) else []
    return bool(body.get("compaction")) or any(_text(edit.get("type")).startswith("compact") for edit in edits)


def _unpriced_of_tool(tool: Mapping[str, Any], prices: Prices, table: PriceTable) -> Iterator[str]:
    kind = tool.get("type")
    if kind is not None and not _text(kind).startswith(_WITHOUT_FEE):
        fee = next((fee for prefix, fee in _FEES.items() if _text(kind).startswith(prefix)), None)
        if fee is None or fee not in prices.tools:
            yield "type"
    if tool.get("model") is not None and _prices_of(tool["model"], table) is None:
        yield "model"


def _prices_of(model: Any, table: PriceTable) -> Prices | None:
    return table.of(model) if isinstance(model, str) else None


def _tools(body: Mapping[str, Any], prefix: str) -> list[Mapping[str, Any]]:
    return [tool for tool in _dicts(body.get("tools")) if _text(tool.get("type")).startswith(prefix)]


def _uses(tool: Mapping[str, Any], otherwise: int) -> int:
    return _positive(tool.get("max_uses")) or otherwise


def _positive(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_known(value: Any, standard: tuple[str, ...], known: Mapping[str, Decimal]) -> bool:
    return isinstance(value, str) and (value in standard or value in known)


def _is_lifetime(ttl: Any) -> bool:
    return ttl is None or (isinstance(ttl, str) and ttl in _LIFETIMES)


def _cache_marks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every `cache_control` in a field read by the API, and the `caching` of advisors."""
    for tool in _dicts(body.get("tools")):
        yield from _marks(tool, "caching")
        yield from _marks(tool, "cache_control")
    yield from _marks(body, "cache_control")
    blocks = _dicts(body.get("system"))
    for message in _dicts(body.get("messages")):
        yield from _marks(message, "cache_control")
        blocks += _dicts(message.get("content"))
    for block in blocks:
        yield from _marks(block, "cache_control")
        for inner in _dicts(block.get("content")):
            yield from _marks(inner, "cache_control")


def _marks(part: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    mark = part.get(name)
    if isinstance(mark, Mapping):
        yield mark


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
