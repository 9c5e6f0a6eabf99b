"""Steps of an agent as bars on one time scale, those of subagents below the step that they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass

from apiproxy.core.events import StepKind
from observability.dashboard.waterfall import LEAST_PERCENT
from observability.tracing.step_values import StepJson, StepUsage

MAX_DEPTH = 4
"""Deepest indentation; phones have no room for more."""

_TICKS = 5
_TITLES = {
    StepKind.MODEL_CALL: "Model",
    StepKind.TOOL_CALL: "Tool",
    StepKind.DENIED: "Denied",
    StepKind.RETRY: "Retry",
}
_ICONS = {
    StepKind.MODEL_CALL: "neurology",
    StepKind.TOOL_CALL: "build",
    StepKind.DENIED: "block",
    StepKind.RETRY: "replay",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBar:
    """Bar of a step.

    Times in milliseconds since the request was received; left and width in percent of the scale.
    server: MCP server of a tool. going: the step has not ended. unfinished: nor will it, since the run has ended.
    """

    id: str
    kind: str
    title: str
    icon: str
    name: str
    server: str
    call: int
    depth: int
    start_ms: float
    length_ms: float
    left: float
    width: float
    going: bool
    unfinished: bool
    failed: bool
    error: str
    usage: StepUsage | None
    cost_usd: float | None

    @property
    def state(self) -> str:
        """State for the style sheet."""
        if self.kind == StepKind.DENIED:
            return "denied"
        if self.failed:
            return "failed"
        return "going" if self.going else "unfinished" if self.unfinished else "done"

    @property
    def tokens_in(self) -> int | None:
        """Input tokens with those of the prompt cache."""
        usage = self.usage
        if usage is None:
            return None
        return usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]

    @property
    def tokens_out(self) -> int | None:
        return None if self.usage is None else self.usage["output_tokens"]


@dataclass(frozen=True, slots=True)
class Tick:
    """Mark of the time axis. left: percent of the scale."""

    at_ms: float
    left: float


@dataclass(frozen=True, slots=True)
class StepWaterfall:
    """Bars from top to bottom. omitted: number of later steps that were not kept."""

    bars: list[StepBar]
    ticks: list[Tick]
    omitted: int

    @property
    def failures(self) -> int:
        return sum(bar.failed for bar in self.bars)


def step_waterfall(steps: Sequence[StepJson], *, total_ms: float, live: bool, omitted: int = 0) -> StepWaterfall:
    """Bars of the steps. total_ms: time since the request was received, or its duration."""
    total_ms = max(total_ms, 0.001, *(step["at_ms"] + (step["ms"] or 0) for step in steps))
    bars = [_bar(step, depth, total_ms, live=live) for step, depth in _in_order(steps)]
    return StepWaterfall(bars, _ticks(total_ms), omitted)


def _in_order(steps: Sequence[StepJson]) -> list[tuple[StepJson, int]]:
    """Steps by their beginning, each followed by those of its subagent, with their depths."""
    known = {step["id"] for step in steps}
    children: dict[str, list[StepJson]] = {}
    for step in sorted(steps, key=lambda step: step["at_ms"]):
        parent = step["parent"] if step["parent"] in known else ""
        children.setdefault(parent, []).append(step)
    found: list[tuple[StepJson, int]] = []
    stack = [(step, 0) for step in reversed(children.pop("", []))]
    while stack:
        step, depth = stack.pop()
        found.append((step, min(depth, MAX_DEPTH)))
        stack.extend((child, depth + 1) for child in reversed(children.pop(step["id"], [])))
    # Left over only if parents form a circle.
    return found + [(step, 0) for rest in children.values() for step in rest]


def _bar(step: StepJson, depth: int, total_ms: float, *, live: bool) -> StepBar:
    kind = StepKind(step["kind"])
    server, slash, tool = step["name"].partition("/")
    is_tool = bool(slash) and kind in (StepKind.TOOL_CALL, StepKind.DENIED)
    length = step["ms"] if step["ms"] is not None else max(0.0, total_ms - step["at_ms"])
    width = min(100.0, max(100 * length / total_ms, LEAST_PERCENT))
    return StepBar(
        id=step["id"],
        kind=kind.value,
        title=_TITLES[kind],
        icon=_ICONS[kind],
        name=tool if is_tool else step["name"],
        server=server if is_tool else "",
        call=step["call"],
        depth=depth,
        start_ms=step["at_ms"],
        length_ms=length,
        left=round(min(100 * step["at_ms"] / total_ms, 100 - width), 3),
        width=round(width, 3),
        going=step["ms"] is None and live,
        unfinished=step["ms"] is None and not live,
        failed=step["failed"],
        error=step["error"],
        usage=step["usage"],
        cost_usd=step["cost_usd"],
    )


def _ticks(total_ms: float) -> list[Tick]:
    """About `_TICKS` marks at round times."""
    size = 1.0
    while size * 10 < total_ms / _TICKS:
        size *= 10
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if size * factor * _TICKS >= total_ms)
    return [Tick(step * n, round(100 * step * n / total_ms, 3)) for n in range(int(total_ms / step) + 1)]
