"""Limit headers of the Messages API.

Source: https://platform.claude.com/docs/en/api/rate-limits
"""

from datetime import UTC, datetime

from apiproxy.core.limits import Gauge, LimitState
from apiproxy.dialects.limit_headers import build_limit_headers


def limit_headers(state: LimitState) -> dict[str, str]:
    """Headers by name; empty for a key without limits."""
    return build_limit_headers(state, _gauge_headers)


def _gauge_headers(name: str, gauge: Gauge, _at_ms: int) -> dict[str, str]:
    # Rounded up to whole seconds, else the limit would not be free again at the time given.
    full_at = datetime.fromtimestamp(-(-gauge.full_at_ms // 1000), tz=UTC)
    return {
        f"anthropic-ratelimit-{name}-limit": str(gauge.limit),
        f"anthropic-ratelimit-{name}-remaining": str(gauge.remaining),
        f"anthropic-ratelimit-{name}-reset": full_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
