"""Usage of one stream, folded from its `usage` objects. Pure.

Fields: `usage.py`, `beta/beta_usage.py` and `beta/beta_iterations_usage.py` of the types of `anthropic` 2.12. The
counts are in range already (`counts.py`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from apiproxy.core.events import Iteration, Usage

COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_TEXT_FIELDS = ("speed", "inference_geo", "service_tier")
_KNOWN_FIELDS = frozenset(
    {
        *COUNTS,
        *_TEXT_FIELDS,
        "cache_creation",
        "server_tool_use",
        "iterations",
        "output_tokens_details",
        "fallback_credit",
    }
)
"""Known fields. Output details are part of the output count; a fallback credit only lowers a bill."""
_KNOWN_OF_ITERATION = frozenset({*COUNTS, "cache_creation", "type", "model", "output_tokens_details"})
_WITHIN_TOTALS = frozenset({"message", "fallback_message"})
_OUTSIDE_TOTALS = frozenset({"compaction", "advisor_message"})
"""Iterations not in the totals of `usage` (`beta_usage.py`; the advisor's have another price)."""
_FIVE_MINUTES, _HOUR = "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"
_MAX_ITERATIONS = 1_000
_MAX_NAMES = 16
_MAX_NAME_CHARS = 80
_CODE_BLOCKS = frozenset({"code_execution", "bash_code_execution", "text_editor_code_execution"})
_CODE_REQUESTS = "code_execution_requests"


class UsageFold:
    """Accumulator of `usage` objects.

    Counts are cumulative, so later ones replace earlier ones; null changes nothing.
    """

    def __init__(self) -> None:
        self._reported: dict[str, Any] = {}
        self._ran_code = False

    def add(self, usage: object) -> None:
        """Add the `usage` of `message_start` or `message_delta`."""
        if isinstance(usage, Mapping):
            self._reported.update({name: value for name, value in usage.items() if value is not None})

    def block(self, block: object) -> None:
        """Add a content block: the API bills a container for executed code, which `usage` does not count."""
        if isinstance(block, Mapping) and block.get("type") == "server_tool_use":
            name = block.get("name")
            self._ran_code = self._ran_code or (isinstance(name, str) and name in _CODE_BLOCKS)

    def usage(self, *, estimated: bool = False) -> Usage:
        """The usage so far."""
        reported = self._reported
        unknown = list(_billable(reported, _KNOWN_FIELDS))
        written, hour = _cache_writes(reported, unknown)
        iterations = reported.get("iterations")
        entries = iterations if isinstance(iterations, list) else []
        if len(entries) > _MAX_ITERATIONS:
            unknown.append("iterations")
        return Usage(
            input_tokens=_count(reported, "input_tokens"),
            output_tokens=_count(reported, "output_tokens"),
            cache_read_input_tokens=_count(reported, "cache_read_input_tokens"),
            cache_creation_input_tokens=written,
            estimated=estimated,
            cache_creation_1h_input_tokens=hour,
            server_tools=self._server_tools(unknown),
            speed=_text(reported, "speed"),
            inference_geo=_text(reported, "inference_geo"),
            service_tier=_text(reported, "service_tier"),
            iterations=tuple(
                _iteration(entry, unknown) for entry in entries[:_MAX_ITERATIONS] if isinstance(entry, Mapping)
            ),
            unknown=tuple(dict.fromkeys(unknown))[:_MAX_NAMES],
        )

    def _server_tools(self, unknown: list[str]) -> tuple[tuple[str, float], ...]:
        reported = self._reported.get("server_tool_use")
        used = dict[str, float]()
        for name, value in reported.items() if isinstance(reported, Mapping) else ():
            if _is_number(value) and len(used) < _MAX_NAMES:
                used[_short(name)] = value
            elif _positive(value):
                unknown.append("server_tool_use")
        if self._ran_code:
            used.setdefault(_CODE_REQUESTS, 1)
        return tuple((name, uses) for name, uses in used.items() if uses)


def _iteration(entry: Mapping[str, Any], unknown: list[str]) -> Iteration:
    kind = _text(entry, "type")
    if kind not in _WITHIN_TOTALS | _OUTSIDE_TOTALS:
        unknown.append(f"iterations.{kind}")
    unknown += [f"iterations.{name}" for name in _billable(entry, _KNOWN_OF_ITERATION)]
    written, hour = _cache_writes(entry, unknown)
    return Iteration(
        type=kind,
        model=_text(entry, "model"),
        apart=kind not in _WITHIN_TOTALS,
        input_tokens=_count(entry, "input_tokens"),
        output_tokens=_count(entry, "output_tokens"),
        cache_read_input_tokens=_count(entry, "cache_read_input_tokens"),
        cache_creation_input_tokens=written,
        cache_creation_1h_input_tokens=hour,
    )


def _cache_writes(reported: Mapping[str, Any], unknown: list[str]) -> tuple[int, int]:
    """Tokens written to the cache, and the part of them kept for an hour.

    Tokens missing from the breakdown count as the most expensive kind in it.
    """
    total = _count(reported, "cache_creation_input_tokens")
    parts = reported.get("cache_creation")
    if not isinstance(parts, Mapping):
        return total, 0
    short, hour = _count(parts, _FIVE_MINUTES), _count(parts, _HOUR)
    others = list(_billable(parts, frozenset({_FIVE_MINUTES, _HOUR})))
    unknown += [f"cache_creation.{name}" for name in others]
    total = max(total, short + hour)
    return total, total - short if hour or others else 0


def _billable(reported: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    """Unknown fields with a number above zero, directly or one level down."""
    for name, value in reported.items():
        if name in known:
            continue
        inner = value.values() if isinstance(value, Mapping) else (value,)
        if any(_positive(number) for number in inner):
            yield _short(name)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _count(reported: Mapping[str, Any], name: str) -> int:
    value = reported.get(name)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(reported: Mapping[str, Any], name: str) -> str:
    value = reported.get(name)
    return _short(value) if isinstance(value, str) else ""


def _short(name: object) -> str:
    return str(name)[:_MAX_NAME_CHARS]
