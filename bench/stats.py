"""Numbers out of measurements. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Line = dict[str, Any]
"""What is reported of one scenario; one line of JSON."""


def percentile(values: Sequence[float], fraction: float) -> float:
    """The value below which that fraction of the values lies, between two of them where it falls between.

    fraction: 0 to 1. Raises ValueError where there are no values.
    """
    if not values or not 0 <= fraction <= 1:
        raise ValueError(f"no percentile {fraction} of {len(values)} values")
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    below, above = math.floor(place), math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 90th percentile and least, in milliseconds, and how many there were."""
    picked = {"median": percentile(seconds, 0.5), "p90": percentile(seconds, 0.9), "min": min(seconds)}
    return {name: round(value * 1000, 2) for name, value in picked.items()} | {"n": len(seconds)}


def median_and_p99(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds, and how many there were."""
    picked = {"median": percentile(seconds, 0.5), "p99": percentile(seconds, 0.99)}
    return {name: round(value * 1000, 2) for name, value in picked.items()} | {"n": len(seconds)}


def ratio(numerator: float, denominator: float) -> float | None:
    """The quotient with two digits after the point; None where there is none."""
    return round(numerator / denominator, 2) if denominator > 0 else None


def first_difference(given: str, expected: str) -> int | None:
    """The index of the first character that differs, or that only one of them has; None where they are equal."""
    if given == expected:
        return None
    pairs = enumerate(zip(given, expected, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(given), len(expected)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A limit for one number of a line. path: its place, `ours.median`; the limit itself still meets the goal."""

    path: str
    kind: Literal["at_least", "at_most"]
    limit: float

    def judge(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """The limit, and whether the line's number keeps it; a number that is missing does not."""
        value: Any = line
        for name in self.path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        met = value is not None and (value >= self.limit if self.kind == "at_least" else value <= self.limit)
        return {self.kind: self.limit, "met": met}


def finished_line(scenario: str, line: Mapping[str, Any], goals: Iterable[Goal], machine: Mapping[str, Any]) -> Line:
    """The line as it is reported: named, with its goals judged, and where it was measured."""
    judged = {goal.path: goal.judge(line) for goal in goals}
    return {"scenario": scenario, **line, **({"goals": judged} if judged else {}), **machine}


def encode_line(line: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return orjson.dumps(line) + b"\n"
