"""Limit headers of the OpenAI API.

Source: https://platform.openai.com/docs/guides/rate-limits
"""

from apiproxy.core.limits import Gauge, LimitState
from apiproxy.dialects.limit_headers import build_limit_headers


def limit_headers(state: LimitState) -> dict[str, str]:
    """Headers by name; empty for a key without limits."""
    return build_limit_headers(state, _gauge_headers)


def _gauge_headers(name: str, gauge: Gauge, at_ms: int) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{name}": str(gauge.limit),
        f"x-ratelimit-remaining-{name}": str(gauge.remaining),
        f"x-ratelimit-reset-{name}": _duration(max(0, gauge.full_at_ms - at_ms)),
    }


def _duration(milliseconds: int) -> str:
    """Duration in OpenAI's format: `1m0s`, `17.5s`, `350ms`."""
    if milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{seconds}" if minutes else seconds
