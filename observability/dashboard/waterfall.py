"""Where the time of one request went: its phases as bars on one scale. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

LEAST_PERCENT = 0.4
"""The width of a bar that would be too thin to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A phase. Times in milliseconds from when the request was received; left and width in percent of the whole.

    kind is a word for the style sheet; going: it has not ended.
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
    """The bars from top to bottom, and how long they take together."""

    bars: list[Bar]
    total_ms: float


# The phase from this moment to the next one that was reached.
_PHASES = (
    ("received", "Intake", "intake", "Reading the request, checking the key and its limits"),
    ("queued", "Queue", "queue", "Waiting for a free slot"),
    ("admitted", "Worker", "worker", "Waiting for a warm worker"),
    ("worker_ready", "Upstream", "upstream", "From handing the request over to the first event that came back"),
    ("first_event", "First token", "token", "From the first event to the first piece of the answer"),
    ("first_token", "Streaming", "stream", "The answer arrives"),
    ("last_event", "Closing", "closing", "From the last event to the end of the response"),
)


def waterfall(times: Mapping[str, float | None], *, now: float) -> Waterfall:
    """The bars, from the Unix times of the phases by name (`received` … `finished`); those not reached are None."""
    start = times["received"]
    assert start is not None
    end = times.get("finished")
    if end is None:
        times = {**times, "last_event": None}  # of an answer that still arrives it is only the last so far
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
