"""`usage` of a run's message: the sums, and one entry per model call. Pure."""

from typing import Any

from apiproxy.core.events import Iteration, Usage


def usage_fields(usage: Usage) -> dict[str, Any]:
    """The Messages API's `usage` object."""
    fields = _counts(usage)
    fields["iterations"] = [_entry(iteration) for iteration in usage.iterations]
    if usage.server_tools:
        fields["server_tool_use"] = dict(usage.server_tools)
    if usage.service_tier:
        fields["service_tier"] = usage.service_tier
    return fields


def _entry(iteration: Iteration) -> dict[str, Any]:
    model = {"model": iteration.model} if iteration.model else {}
    return {"type": iteration.type, **model, **_counts(iteration)}


def _counts(counted: Usage | Iteration) -> dict[str, Any]:
    hour = counted.cache_creation_1h_input_tokens
    return {
        "input_tokens": counted.input_tokens,
        "output_tokens": counted.output_tokens,
        "cache_read_input_tokens": counted.cache_read_input_tokens,
        "cache_creation_input_tokens": counted.cache_creation_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counted.cache_creation_input_tokens - hour,
            "ephemeral_1h_input_tokens": hour,
        },
    }
