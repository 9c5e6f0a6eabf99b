"""Values of the JSON that several parts have."""

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def human_duration(seconds: float) -> str:
    """A duration such as `2d 3h 4m 5s`, without leading zero parts."""
    rest, parts = int(seconds), list[str]()
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join([*parts, f"{rest}s"])


def chars_per_s(chars: int, start: float | None, end: float | None) -> int | None:
    """Characters per second between two Unix times; None if there is no span."""
    return round(chars / (end - start)) if start is not None and end is not None and end > start else None


def iso_time(at: float | None) -> str | None:
    """A Unix time in ISO 8601, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat() if at else None
