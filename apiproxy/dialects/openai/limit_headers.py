"""How a key's limits are told to an OpenAI client. Source: https://platform.openai.com/docs/guides/rate-limits"""

import math

from apiproxy.core.limits import LimitError, LimitState


def limit_headers(state: LimitState) -> dict[str, str]:
    """The headers, by name; none for a key without limits."""
    headers = {}
    for name, gauge in (("requests", state.requests), ("tokens", state.tokens)):
        if gauge is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(gauge.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(gauge.remaining)
            headers[f"x-ratelimit-reset-{name}"] = _duration(max(0, gauge.full_at_ms - state.at_ms))
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


def _duration(milliseconds: int) -> str:
    """As OpenAI writes it: `1m0s`, `17.5s`, `350ms`."""
    if milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{seconds}" if minutes else seconds
