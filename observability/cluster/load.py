"""How full a process was lately: the lines under the overview's figures begin before its page was opened. Pure."""

from collections import deque
from collections.abc import Iterable

from observability.payloads import Load, Queue

STEPS = 60
"""So many beats are remembered: two minutes."""


class LoadHistory:
    """The last `STEPS` looks at a queue."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int]] = deque(maxlen=STEPS)

    def note(self, queue: Queue) -> None:
        """One more look; to be called with each beat."""
        self._looks.append((queue["active"], queue["waiting"]))

    def told(self) -> Load:
        """What is remembered."""
        return {"active": [active for active, _ in self._looks], "waiting": [waiting for _, waiting in self._looks]}


def sum_of_loads(loads: Iterable[Load]) -> Load:
    """All of them as one. Their newest values belong together; a process that is younger had nothing before."""
    found = list(loads)
    return {
        "active": _summed([load["active"] for load in found]),
        "waiting": _summed([load["waiting"] for load in found]),
    }


def _summed(lines: list[list[int]]) -> list[int]:
    length = max(map(len, lines), default=0)
    return [sum(line[-back] for line in lines if len(line) >= back) for back in range(length, 0, -1)]
