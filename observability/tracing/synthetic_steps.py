"""Synthetic runs of agents: steps with realistic durations, tokens, parallel calls and errors."""

import random
from dataclasses import dataclass
from typing import Any

from apiproxy.core.events import StepKind
from observability.tracing.step_values import StepJson

_INPUT_MICRO_USD = 3
_OUTPUT_MICRO_USD = 15


@dataclass(frozen=True, slots=True)
class SyntheticAgent:
    """An agent. tools: `server/tool`, with median seconds of a call."""

    slug: str
    version: int
    model: str
    tools: tuple[tuple[str, float], ...]


AGENTS = (
    SyntheticAgent(
        "support-bot", 3, "claude-sonnet-4-5", (("handbook/search", 0.4), ("tickets/find", 0.8), ("tickets/note", 0.3))
    ),
    SyntheticAgent("data-analyst", 1, "claude-opus-4-5", (("agent/Bash", 2.5), ("agent/Read", 0.02))),
)


class _Run:
    """A run while it is made up. at_ms: the present."""

    def __init__(self, rng: random.Random, agent: SyntheticAgent, *, at_ms: float) -> None:
        self.steps: list[StepJson] = []
        self.at_ms = at_ms
        self._rng = rng
        self._agent = agent
        self._context = int(rng.lognormvariate(7.5, 0.6))

    def call_model(self, call: int) -> None:
        length = 1000 * self._rng.lognormvariate(0.4, 0.5)
        output = int(self._rng.lognormvariate(4.8, 0.7))
        step = self._step(StepKind.MODEL_CALL, self._agent.model, call, length)
        cached = 0 if call == 1 else self._context - 200
        step["usage"] = {
            "input_tokens": self._context - cached,
            "output_tokens": output,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
        }
        micro = (self._context - cached) * _INPUT_MICRO_USD + cached * 0.3 + output * _OUTPUT_MICRO_USD
        step["cost_usd"] = micro / 1_000_000
        self._context += output + int(self._rng.lognormvariate(5.5, 0.8))
        self.at_ms += length

    def call_tools(self, call: int) -> None:
        """One to three calls side by side, of which some fail."""
        longest = 0.0
        for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
            name, median_s = self._rng.choice(self._agent.tools)
            length = 1000 * median_s * self._rng.lognormvariate(0, 0.6)
            step = self._step(StepKind.TOOL_CALL, name, call, length)
            if self._rng.random() < 0.06:
                step |= {"failed": True, "error": self._rng.choice(("timeout", "tool_error"))}
            longest = max(longest, length)
        self.at_ms += longest + 3

    def wait(self, call: int) -> None:
        step = self._step(StepKind.RETRY, self._agent.model, call, 800.0)
        step |= {"failed": True, "error": "overloaded_error"}
        self.at_ms += 800

    def _step(self, kind: StepKind, name: str, call: int, length_ms: float) -> StepJson:
        step: StepJson = {
            "id": f"{kind.value}_{len(self.steps) + 1}",
            "kind": kind.value,
            "name": name,
            "call": call,
            "at_ms": round(self.at_ms, 1),
            "ms": round(length_ms, 1),
            "failed": False,
            "error": "",
            "parent": "",
            "usage": None,
            "cost_usd": None,
        }
        self.steps.append(step)
        return step


def run_of(rng: random.Random, agent: SyntheticAgent, trace: dict[str, Any]) -> dict[str, Any]:
    """Columns that differ from those of other traces, and the steps. trace: its other columns."""
    named = {"agent": f"{agent.slug}@{agent.version}", "model_calls": 0, "steps": []}
    begun, ended = trace["first_event_at"], trace["last_event_at"]
    if begun is None or ended is None:
        return named
    run = _Run(rng, agent, at_ms=(trace["worker_ready_at"] - trace["received_at"]).total_seconds() * 1000)
    calls = rng.choices((1, 2, 3, 4, 6, 9), (2, 5, 5, 3, 2, 1))[0]
    for call in range(1, calls + 1):
        if rng.random() < 0.02:
            run.wait(call)
        run.call_model(call)
        if call < calls:
            run.call_tools(call)
    return named | _columns(trace, run, calls)


def _columns(trace: dict[str, Any], run: _Run, calls: int) -> dict[str, Any]:
    """Sums over the steps, which are fitted into the time of the trace."""
    ready_ms = (trace["worker_ready_at"] - trace["received_at"]).total_seconds() * 1000
    room_ms = (trace["last_event_at"] - trace["received_at"]).total_seconds() * 1000 - ready_ms
    scale = room_ms / max(1.0, run.at_ms - ready_ms)
    for step in run.steps:
        step["at_ms"] = round(ready_ms + (step["at_ms"] - ready_ms) * scale, 1)
        step["ms"] = round((step["ms"] or 0) * scale, 1)
    usages = [step["usage"] for step in run.steps if step["usage"] is not None]
    return {
        "model_calls": calls,
        "tool_calls": sum(step["kind"] == StepKind.TOOL_CALL for step in run.steps),
        "input_tokens": sum(usage["input_tokens"] for usage in usages),
        "output_tokens": sum(usage["output_tokens"] for usage in usages),
        "cache_read_tokens": sum(usage["cache_read_input_tokens"] for usage in usages),
        "cost_micro_usd": round(sum(step["cost_usd"] or 0 for step in run.steps) * 1_000_000),
        "stop_reason": "end_turn" if trace["stop_reason"] else "",
        "steps": run.steps,
    }
