"""Prices of tokens, tools and serving options, and the cost of a usage. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from apiproxy.core.events import Iteration, Usage

_MILLION = Decimal(1_000_000)
_ONE = Decimal(1)
_STANDARD = frozenset({"", "standard", "standard_only", "auto", "global", "not_available"})
"""Values of `speed`, `inference_geo` and `service_tier` at the base price."""
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_HOUR_COUNT = "cache_creation_1h_input_tokens"

CODE_EXECUTION = "code_execution_requests"
WEB_SEARCH = "web_search_requests"
WEB_FETCH = "web_fetch_requests"
_FREE_CODE_SINCE = 20260209
"""With a web search or web fetch tool since this version, code execution is free."""
_MAX_TOOLS_CHECKED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices of a model in USD: per million tokens and per use of server tools.

    cache_write: five-minute cache. cache_write_1h: one-hour cache. long_prompt_factor applies to requests whose prompt
    has more than long_prompt_above tokens, long_prompt_output_factor to their output. speeds, geos, tiers: factors by
    the values of `usage.speed`, `usage.inference_geo` and `usage.service_tier`.
    """

    input: Decimal
    output: Decimal
    cache_write: Decimal
    cache_read: Decimal
    cache_write_1h: Decimal
    long_prompt_above: int | None = None
    long_prompt_factor: Decimal = _ONE
    long_prompt_output_factor: Decimal | None = None
    speeds: Mapping[str, Decimal] = field(default_factory=dict)
    geos: Mapping[str, Decimal] = field(default_factory=dict)
    tiers: Mapping[str, Decimal] = field(default_factory=dict)
    tools: Mapping[str, Decimal] = field(default_factory=dict)

    def tokens_usd(self, counts: Usage | Iteration) -> Decimal:
        """Cost of the tokens at the base price."""
        prompt = counts.input_tokens + counts.cache_creation_input_tokens + counts.cache_read_input_tokens
        hour = min(counts.cache_creation_1h_input_tokens, counts.cache_creation_input_tokens)
        read = (
            counts.input_tokens * self.input
            + (counts.cache_creation_input_tokens - hour) * self.cache_write
            + hour * self.cache_write_1h
            + counts.cache_read_input_tokens * self.cache_read
        )
        written = counts.output_tokens * self.output
        if self.long_prompt_above is not None and prompt > self.long_prompt_above:
            read *= self.long_prompt_factor
            written *= self.long_prompt_output_factor or self.long_prompt_factor
        return (read + written) / _MILLION

    def factor(self, usage: Usage) -> tuple[Decimal, tuple[str, ...]]:
        """Factor for speed, geo and tier; unknown values count as standard and are listed."""
        factor, missing = _ONE, list[str]()
        for name, value, known in (
            ("speed", usage.speed, self.speeds),
            ("inference_geo", usage.inference_geo, self.geos),
            ("service_tier", usage.service_tier, self.tiers),
        ):
            if value in known:
                factor *= known[value]
            elif value not in _STANDARD:
                missing.append(f"{name}={value}")
        return factor, tuple(missing)

    def cost(self, usage: Usage) -> float:
        """Cost in USD, excluding parts without a price.

        The usage must have no iterations of other models.
        """
        charged = charge("", usage, lambda _: self)
        assert charged is not None
        return float(charged.usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices of all models. of: by id or alias. all: every model's."""

    of: Callable[[str], Prices | None]
    all: Callable[[], Collection[Prices]] = tuple


NO_PRICES = PriceTable(of=lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Cost of a usage, and its parts without a price."""

    usd: Decimal
    unpriced: tuple[str, ...] = ()


def charge(model: str, usage: Usage, prices_of: Callable[[str], Prices | None]) -> Charge | None:
    """Cost of a usage; None if no part has a price. model: the request's.

    `iterations` are charged at the prices of their models. Tokens in the totals beyond their sum are charged at the
    request's model, so that none is free.
    """
    total, missing, priced = Decimal(0), list(usage.unknown), False
    for name, counts in _parts(model, usage):
        prices = prices_of(name)
        if prices is None:
            missing.append(f"model={name}")
            continue
        factor, unknown = prices.factor(usage)
        total += prices.tokens_usd(counts) * factor
        missing += unknown
        priced = True
    own = prices_of(model)
    for tool, uses in usage.server_tools:
        fee = own.tools.get(tool) if own is not None else None
        if fee is not None:
            total += fee * Decimal(uses)
        elif uses:
            missing.append(f"server_tool_use.{tool}")
    return Charge(usd=total, unpriced=tuple(dict.fromkeys(missing))) if priced else None


def without_free_tools(usage: Usage, body: Mapping[str, Any]) -> Usage:
    """Remove code execution from a usage if it is free.

    It is with a recent web tool in the request.
    Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/code-execution-tool
    """
    if not any(name == CODE_EXECUTION for name, _ in usage.server_tools) or not _has_new_web_tool(body):
        return usage
    return replace(usage, server_tools=tuple(pair for pair in usage.server_tools if pair[0] != CODE_EXECUTION))


def _has_new_web_tool(body: Mapping[str, Any]) -> bool:
    tools = body.get("tools")
    for tool in tools[:_MAX_TOOLS_CHECKED] if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if isinstance(kind, str) and kind.startswith(("web_search_", "web_fetch_")):
            version = kind.rpartition("_")[2]
            if len(version) == 8 and version.isdecimal() and int(version) >= _FREE_CODE_SINCE:
                return True
    return False


def _parts(model: str, usage: Usage) -> Iterator[tuple[str, Usage | Iteration]]:
    """Split a usage by model."""
    if not usage.iterations:
        yield model, usage
        return
    for entry in usage.iterations:
        yield entry.model or model, entry
    counted = {name: sum(getattr(entry, name) for entry in usage.iterations if not entry.apart) for name in _COUNTS}
    rest = {name: max(0, getattr(usage, name) - counted[name]) for name in _COUNTS}
    if any(rest.values()):
        hour = sum(entry.cache_creation_1h_input_tokens for entry in usage.iterations if not entry.apart)
        rest[_HOUR_COUNT] = min(
            rest["cache_creation_input_tokens"], max(0, usage.cache_creation_1h_input_tokens - hour)
        )
        yield model, Usage(**rest)
