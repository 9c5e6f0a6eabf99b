"""Token counts reported in stream events."""

from typing import Any

from apiproxy.core.events import Usage


def with_reported(known: Usage, reported: object) -> Usage:
    """The known counts with those reported, which are cumulative: the latest value of each kind counts."""
    if not isinstance(reported, dict):
        return known
    return Usage(
        input_tokens=_count(reported, "input_tokens", known.input_tokens),
        output_tokens=_count(reported, "output_tokens", known.output_tokens),
        cache_read_input_tokens=_count(reported, "cache_read_input_tokens", known.cache_read_input_tokens),
        cache_creation_input_tokens=_count(reported, "cache_creation_input_tokens", known.cache_creation_input_tokens),
    )


def _count(reported: dict[str, Any], name: str, known: int) -> int:
    value = reported.get(name)
    return value if type(value) is int and value >= 0 else known
