"""How a key's limits are told to an Anthropic client. Source: https://platform.claude.com/docs/en/api/rate-limits"""

import math
from datetime import UTC, datetime

from apiproxy.core.limits import LimitError, LimitState


def limit_headers(state: LimitState) -> dict[str, str]:
    """The headers, by name; none for a key without limits."""
    headers = {}
    for name, gauge in (("requests", state.requests), ("tokens", state.tokens)):
        if gauge is not None:
            # Whole seconds, rounded up: what is said to be free then must be.
            full_at = datetime.fromtimestamp(-(-gauge.full_at_ms // 1000), tz=UTC)
            headers[f"anthropic-ratelimit-{name}-limit"] = str(gauge.limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(gauge.remaining)
            headers[f"anthropic-ratelimit-{name}-reset"] = full_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    if state.warning:
        headers["x-proxy-budget-warning"] = state.warning
    return headers


def refusal_headers(error: LimitError) -> dict[str, str]:
    """Those, and what keeps the official client from asking again in vain, or lets it wait no longer than it must."""
    headers = limit_headers(error.state)
    if not error.retryable:
        headers["x-should-retry"] = "false"
    elif error.retry_after_s is not None:
        headers["retry-after-ms"] = str(math.ceil(error.retry_after_s * 1000))
    return headers
