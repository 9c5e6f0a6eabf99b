"""Usage charged for a run of an agent."""

from collections.abc import Sequence
from dataclasses import fields, replace

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import Step, Usage
from apiproxy.core.turns import Turn
from apiproxy.engines.base import Outcome
from apiproxy.runs.metering import Estimate, Meter, Price

_SUMMED = tuple(field.name for field in fields(Usage) if field.name.endswith("_tokens"))


class AgentMeter(Meter):
    """Usage of an agent's run, over all its attempts.

    The engine itself counts and prices each model call.
    """

    def __init__(self, turn: Turn, *, price: Price, estimate: Estimate) -> None:
        super().__init__(turn, price=price, estimate=estimate)
        self._lost: list[Usage] = []
        self._reported: list[Usage] = []

    def begin_attempt(self) -> None:
        super().begin_attempt()
        self._reported = []

    def on_step(self, step: Step) -> None:
        """Note the usage of a model call that has ended, in case the run crashes before its outcome."""
        if step.usage is not None:
            self._reported.append(step.usage)

    def add_lost_attempt(self, outcome: Outcome) -> None:
        self._lost.append(outcome.usage)

    async def usage(self, outcome: Outcome | None = None) -> Usage:
        return _sum(self._lost if outcome is None else [*self._lost, outcome.usage])

    async def usage_after_crash(self, error: ProxyError) -> Usage:
        return _sum([*self._lost, *self._reported])


def _sum(parts: Sequence[Usage]) -> Usage:
    used = [usage for usage in parts if usage != Usage()]
    if len(used) < 2:
        return used[0] if used else Usage()
    costs = [usage.cost_usd for usage in used if usage.cost_usd is not None]
    return replace(
        used[-1],
        **{name: sum(getattr(usage, name) for usage in used) for name in _SUMMED},
        cost_usd=sum(costs) if costs else None,
        estimated=any(usage.estimated for usage in used),
        iterations=tuple(entry for usage in used for entry in usage.iterations),
        unpriced=tuple(dict.fromkeys(name for usage in used for name in usage.unpriced)),
    )
