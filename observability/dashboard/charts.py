"""Data of the charts, from the rollups: Unix seconds, percentiles in milliseconds, cost in US dollars."""

import time
from dataclasses import dataclass
from typing import Any, TypedDict

from observability.models import Dimension
from observability.stats import figures
from observability.stats.figures import Point

TOP_KEYS = 6
"""Keys drawn separately; the rest are summed."""

_MINUTE_S = 60
_OUTCOMES = ("completed", "errors", "cancelled", "refused", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Period until now, divided into steps; refresh_s: how often pages reload its charts."""

    name: str
    title: str
    seconds: int
    step_s: int
    refresh_s: int


WINDOWS = {
    window.name: window
    for window in (
        Window(name="5m", title="5 min", seconds=300, step_s=10, refresh_s=5),
        Window(name="1h", title="1 hour", seconds=3_600, step_s=60, refresh_s=15),
        Window(name="24h", title="24 hours", seconds=86_400, step_s=3_600, refresh_s=60),
        Window(name="7d", title="7 days", seconds=7 * 86_400, step_s=6 * 3_600, refresh_s=120),
    )
}
DEFAULT_WINDOW = "1h"


class KeyCost(TypedDict):
    """Cost of one key in each step of `cost_steps`."""

    label: str
    cost: list[float]


class Charts(TypedDict):
    """Series of the overview, one value per step."""

    window: str
    step_s: int
    refresh_s: int
    steps: list[int]
    outcomes: dict[str, list[int]]
    ttft: dict[str, list[float | None]]
    duration: dict[str, list[float | None]]
    tokens: dict[str, list[int]]
    cost_steps: list[int]
    cost: list[KeyCost]


async def read_charts(window: Window, *, now: float | None = None) -> Charts:
    """Query the charts of the window."""
    now = time.time() if now is None else now
    since = now - window.seconds
    points = await figures.series(since, window.step_s, now=now)
    cost_step = max(_MINUTE_S, window.step_s)
    steps, costs = await _costs(since, cost_step, now)
    return {
        "window": window.name,
        "step_s": window.step_s,
        "refresh_s": window.refresh_s,
        "steps": [point.start for point in points],
        "outcomes": {name: [getattr(point.totals, name) for point in points] for name in _OUTCOMES},
        "ttft": _percentiles(points, "ttft"),
        "duration": _percentiles(points, "duration"),
        "tokens": {
            "input": [point.totals.input_tokens for point in points],
            "cache read": [point.totals.cache_read_tokens for point in points],
            "cache write": [point.totals.cache_creation_tokens for point in points],
            "output": [point.totals.output_tokens for point in points],
        },
        "cost_steps": steps,
        "cost": costs,
    }


def _percentiles(points: list[Point], metric: str) -> dict[str, list[float | None]]:
    return {share: [point.percentiles[metric].get(share) for point in points] for share in ("p50", "p95")}


async def _costs(since: float, step_s: int, now: float) -> tuple[list[int], list[KeyCost]]:
    steps = list(range(int(since) // step_s * step_s, int(now) + 1, step_s))
    found = await figures.group_series(Dimension.KEY, since, step_s)
    totals = {value: sum(part.cost_usd for part in parts.values()) for value, parts in found.items()}
    ranked = sorted((value for value in totals if totals[value] > 0), key=lambda value: -totals[value])
    labels = (
        {group.value: group.label for group in await figures.groups(Dimension.KEY, since, now=now)} if ranked else {}
    )
    lines: list[KeyCost] = [
        {"label": labels.get(value) or f"key {value}", "cost": _line(found[value], steps)}
        for value in ranked[:TOP_KEYS]
    ]
    if rest := ranked[TOP_KEYS:]:
        others = [_line(found[value], steps) for value in rest]
        lines.append({"label": f"{len(rest)} others", "cost": [sum(column) for column in zip(*others, strict=True)]})
    return steps, lines


def _line(parts: dict[int, Any], steps: list[int]) -> list[float]:
    return [parts[step].cost_usd if step in parts else 0.0 for step in steps]
