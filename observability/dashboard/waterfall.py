"""Phases of a request as bars on one time scale."""

from collections.abc import Mapping
from dataclasses import dataclass

LEAST_PERCENT = 0.4
"""Least width of a bar; else short phases would be invisible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Bar of a phase.

    Times in milliseconds since the request was received; left and width in percent of the total.
    kind: for the style sheet. going: the phase has not ended.
    """

    name: str
    kind: str
    meaning: str
    start_ms: float
    length_ms: float
    left: float
    width: float
    share: float
    going: bool


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Bars from top to bottom, and their total duration."""

    bars: list[Bar]
    total_ms: float


# A phase lasts from this time to the next one that was reached.
_PHASES = (
    ("received", "Intake", "intake", "Reading the request, checking the key and its limits"),
    ("queued", "Queue", "queue", "Waiting for a free slot"),
    ("admitted", "Worker", "worker", "Waiting for a worker"),
    ("worker_ready", "Upstream", "upstream", "From sending the request to the first event"),
    ("first_event", "First token", "token", "From the first event to the first token"),
    ("first_token", "Streaming", "stream", "Receiving the response"),
    ("last_event", "Closing", "closing", "From the last event to the end of the response"),
)


def waterfall(times: Mapping[str, float | None], *, now: float) -> Waterfall:
    """Bars from the Unix times of the phases (`received` … `finished`), None for phases not reached."""
    start = times["received"]
    assert start is not None
    end = times.get("finished")
    if end is None:
        times = {**times, "last_event": None}  # while the response arrives, more events will follow
    total = max((end if end is not None else now) - start, 0.000_001)
    reached = [
        (name, at) for name in (*(phase[0] for phase in _PHASES), "finished") if (at := times.get(name)) is not None
    ]
    following = {
        name: reached[index + 1][1] if index + 1 < len(reached) else None for index, (name, _) in enumerate(reached)
    }
    bars = []
    for name, title, kind, meaning in _PHASES:
        begun = times.get(name)
        if begun is None:
            continue
        until = following[name]
        length = max(0.0, (until if until is not None else now) - begun)
        left, share = 100 * max(0.0, begun - start) / total, 100 * length / total
        width = min(100.0, max(share, LEAST_PERCENT))
        bars.append(
            Bar(
                name=title,
                kind=kind,
                meaning=meaning,
                start_ms=1000 * (begun - start),
                length_ms=1000 * length,
                left=round(min(left, 100 - width), 3),
                width=round(width, 3),
                share=share,
                going=until is None,
            )
        )
    return Waterfall(bars, 1000 * total)
