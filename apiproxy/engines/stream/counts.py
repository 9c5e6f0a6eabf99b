"""Token counts of the upstream, clamped to a range that the rest of the code relies on. Pure."""

from typing import Any

from apiproxy.core.events import StreamEvent

MAX_COUNT = 10**9
"""More than any request can use, and small enough for sums and costs to fit into the database."""
TOKEN_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_MAX_DEPTH = 16


def clamp_event(event: StreamEvent) -> tuple[StreamEvent, bool]:
    """The event with its counts in range, and whether they were; the event itself is not changed."""
    holder = event.get("message") if event.get("type") == "message_start" else event
    if not isinstance(holder, dict) or holder.get("usage") is None:
        return event, True
    usage, sane = clamp_usage(holder["usage"])
    if sane:
        return event, True
    holder = {**holder, "usage": usage}
    return ({**event, "message": holder} if event["type"] == "message_start" else holder), False


def clamp_usage(usage: Any) -> tuple[dict[str, Any] | None, bool]:
    """The `usage` with all numbers from 0 to MAX_COUNT, and whether they were.

    A token count of another type is 0; a `usage` of another type is None. A count of null stays null.
    """
    if not isinstance(usage, dict):
        return None, False
    found = {name: _number(value, depth=0) for name, value in usage.items()}
    for name in TOKEN_COUNTS:
        if name in found and found[name] is not None:
            found[name] = _count(found[name])
    return found, _same(found, usage)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value)


def _number(value: Any, *, depth: int) -> Any:
    """The value with all numbers in it in range."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if 0 <= value <= MAX_COUNT else (MAX_COUNT if value > 0 else 0)
    if isinstance(value, dict):
        return {name: _number(item, depth=depth + 1) for name, item in value.items()} if depth < _MAX_DEPTH else {}
    if isinstance(value, list):
        return [_number(item, depth=depth + 1) for item in value] if depth < _MAX_DEPTH else []
    return value


def _same(found: dict[str, Any], usage: dict[str, Any]) -> bool:
    """True if nothing was changed: equal, and no token count was `True` or `2.0`, which equal an int."""
    return found == usage and all(type(found.get(name)) is type(usage.get(name)) for name in TOKEN_COUNTS)
