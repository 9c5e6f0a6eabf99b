"""Rate limit and budget headers; names and time format vary by dialect."""

from collections.abc import Callable, Mapping

from apiproxy.core.limits import Gauge, LimitState

GaugeHeaders = Callable[[str, Gauge, int], Mapping[str, str]]
"""Headers for one limit: its name (`requests` or `tokens`), its state, and the current time in Unix milliseconds."""


def build_limit_headers(state: LimitState, gauge_headers: GaugeHeaders) -> dict[str, str]:
    """Headers by name; empty for a key without limits."""
    headers: dict[str, str] = {}
    for name, gauge in (("requests", state.requests), ("tokens", state.tokens)):
        if gauge is not None:
            headers |= gauge_headers(name, gauge, state.at_ms)
    if state.warning:
        headers["x-proxy-budget-warning"] = state.warning
    return headers
