"""Definition of a scenario."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.stage import Stage
from bench.stats import Goal, Line


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that is measured. meaning: of its numbers, in one sentence."""

    run: Callable[[Stage], Awaitable[Line]]
    meaning: str
    goals: tuple[Goal, ...] = ()
