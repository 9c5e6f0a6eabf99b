"""Usage of several model calls as one. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from apiproxy.core.events import Iteration, Usage

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
)
_MAX_NAMES = 16


def total_usage(model: str, calls: Sequence[Usage]) -> Usage:
    """Sum of the calls, with an iteration for each."""
    if not calls:
        return Usage()
    costs = [usage.cost_usd for usage in calls if usage.cost_usd is not None]
    tools: dict[str, float] = {}
    for usage in calls:
        for name, uses in usage.server_tools:
            tools[name] = tools.get(name, 0) + uses
    return Usage(
        **{name: sum(getattr(usage, name) for usage in calls) for name in _COUNTS},
        cost_usd=sum(costs) if costs else None,
        estimated=any(usage.estimated for usage in calls),
        server_tools=tuple(tools.items())[:_MAX_NAMES],
        speed=_common(calls, "speed"),
        inference_geo=_common(calls, "inference_geo"),
        service_tier=_common(calls, "service_tier"),
        iterations=tuple(entry for usage in calls for entry in _iterations(model, usage)),
        unknown=_union(calls, "unknown"),
        unpriced=_union(calls, "unpriced"),
    )


def _iterations(model: str, usage: Usage) -> list[Iteration]:
    """A call as one iteration, and what its totals exclude."""
    own = Iteration(type="message", model=model, **{name: getattr(usage, name) for name in _COUNTS})
    return [own, *(replace(entry, model=entry.model or model) for entry in usage.iterations if entry.apart)]


def _common(calls: Sequence[Usage], name: str) -> str:
    values = {getattr(usage, name) for usage in calls}
    return str(values.pop()) if len(values) == 1 else ""


def _union(calls: Sequence[Usage], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for usage in calls for value in getattr(usage, name)))[:_MAX_NAMES]
