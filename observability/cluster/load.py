"""Recent load of a process, for the sparklines on the overview page. Pure."""

from collections import deque
from collections.abc import Iterable

from observability.payloads import Load, Queue

STEPS = 60
"""Samples kept, one per heartbeat: two minutes."""


class LoadHistory:
    """The last `STEPS` samples of a queue."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=STEPS)

    def record(self, queue: Queue) -> None:
        """Add a sample; to be called at each heartbeat."""
        self._samples.append((queue["active"], queue["waiting"]))

    def as_payload(self) -> Load:
        return {"active": [active for active, _ in self._samples], "waiting": [waiting for _, waiting in self._samples]}


def total_load(loads: Iterable[Load]) -> Load:
    """Sum of several load histories, aligned at their newest samples; missing older samples count as 0."""
    found = list(loads)
    return {
        "active": _sum_aligned([load["active"] for load in found]),
        "waiting": _sum_aligned([load["waiting"] for load in found]),
    }


def _sum_aligned(series: list[list[int]]) -> list[int]:
    length = max(map(len, series), default=0)
    return [sum(values[-back] for values in series if len(values) >= back) for back in range(length, 0, -1)]
