"""True if a soak was good: its numbers against goals. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from apiproxy.core.turns import EngineName
from bench.soak.books import Books
from bench.soak.callers import Tally
from bench.soak.watch import Sample
from bench.stats import Goal, Line, percentile

LONG_S = 600.0
"""A soak of at least so long is judged by its memory too; in a shorter one workers still warm up."""

_PIPES = 4
"""Descriptors that a worker costs the server: three pipes, and what a child watcher may hold."""
_SPARE_DESCRIPTORS = 24
_SPARE_THREADS = 8
_SPARE_TASKS = 6
_UPSTREAM_PER_WORKER = 2
_EARLY_MS = 150.0
_KINDS_NOT_TRACED_FOR_SURE = frozenset({"leaves_soon"})
"""Their client may be gone before the gateway has read the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """slots: of the engine. max_workers: with one that is being replaced. max_pooled: connections kept open."""

    slots: int
    max_workers: int
    max_pooled: int

    @classmethod
    def of(cls, engine: EngineName, slots: int) -> "Limits":
        """Goals for a gateway with that engine."""
        if engine == "http":
            return cls(slots=slots, max_workers=0, max_pooled=slots)
        return cls(slots=slots, max_workers=slots + 1, max_pooled=0)


def right_goals() -> tuple[Goal, ...]:
    """Goals whose failure is an error: wrong answers, leaks, wrong records."""
    zero = (
        "answers.wrong",
        "answers.not_sent",
        "after.active",
        "after.waiting",
        "after.not_over",
        "after.reserved",
        "after.open_exchanges",
        "after.traces_missing",
        "after.usage_missing",
        "after.workers_over",
        "after.folders_left",
        "after.upstream_over",
        "after.descriptors_over",
        "after.threads_over",
        "after.tasks_over",
        "during.workers_over",
        "during.worker_starts_failed",
    )
    return tuple(Goal(path=path, kind="at_most", limit=0) for path in zero)


def memory_goals() -> tuple[Goal, ...]:
    """Errors too, where the soak is long enough to tell."""
    return (
        Goal(path="memory.server_growth_percent", kind="at_most", limit=5),
        Goal(path="memory.total_growth_percent", kind="at_most", limit=5),
    )


def time_goals(engine: EngineName) -> tuple[Goal, ...]:
    """Goals that need a quiet machine: reported, not an error."""
    if engine == "http":
        return (Goal(path="first_token.late_p99", kind="at_most", limit=0),)
    return (Goal(path="first_token.ratio_p99", kind="at_most", limit=3),)


def memory_line(samples: Sequence[Sample]) -> Line:
    """Growth in the last half: the median of its last third over that of its first, in per cent."""
    half = samples[len(samples) // 2 :]
    third = max(1, len(half) // 3)

    def growth(values: Sequence[float]) -> float:
        early, late = percentile(values[:third], 0.5), percentile(values[-third:], 0.5)
        return round((late / early - 1) * 100, 2) if early else 0.0

    return {
        "server_mb": {"first": samples[0].server_mb, "last": samples[-1].server_mb},
        "server_growth_percent": growth([sample.server_mb for sample in half]),
        "total_mb": {"first": round(samples[0].total_mb, 1), "last": round(samples[-1].total_mb, 1)},
        "total_growth_percent": growth([sample.total_mb for sample in half]),
        "largest_worker_mb": max(sample.largest_worker_mb for sample in samples),
    }


def during_line(samples: Sequence[Sample], limits: Limits, *, seen: int, starts_failed: int) -> Line:
    """The extremes of the load. seen: worker processes, as far as the samples met them."""
    most = max(sample.workers for sample in samples)
    return {
        "workers": most,
        "processes": max(sample.processes for sample in samples),
        "workers_seen": seen,
        "workers_over": max(0, most - limits.max_workers),
        "worker_starts_failed": starts_failed,
        "descriptors": max(sample.descriptors for sample in samples),
        "threads": max(sample.threads for sample in samples),
        "tasks": max(sample.tasks for sample in samples),
        "waiting": max(sample.waiting for sample in samples),
        "database_mb": samples[-1].database_mb,
        "logs_mb": samples[-1].logs_mb,
        "state_mb": samples[-1].state_mb,
    }


def after_line(
    before: Sample, after: Sample, *, books: Books, tally: Tally, open_exchanges: int, limits: Limits
) -> Line:
    """Resources after the load, beside those before it."""
    new_workers = max(0, after.processes - before.processes)
    spare_descriptors = _PIPES * new_workers + limits.max_pooled + _SPARE_DESCRIPTORS
    missing = missing_traces(books, tally)
    return {
        "active": after.active,
        "waiting": after.waiting,
        "not_over": books.not_over,
        "reserved": books.reserved,
        "open_exchanges": open_exchanges,
        "traces_missing": sum(missing.values()),
        **({"traces_missing_of": missing} if missing else {}),
        "usage_missing": abs(books.billed - books.used),
        "requests_used": books.used,
        "workers_over": max(0, after.processes - limits.max_workers),
        "folders_left": max(0, after.folders - after.processes),
        "upstream_over": max(0, after.upstream - _UPSTREAM_PER_WORKER * after.processes - limits.max_pooled),
        "descriptors_over": max(0, after.descriptors - before.descriptors - spare_descriptors),
        "threads_over": max(0, after.threads - before.threads - new_workers - _SPARE_THREADS),
        "tasks_over": max(0, after.tasks - before.tasks - 8 * new_workers - _SPARE_TASKS),
        "before": before.line(),
        "now": after.line(),
    }


def missing_traces(books: Books, tally: Tally) -> dict[str, int]:
    """Requests without a trace and traces without a request, by kind; None if the records are right."""
    missing = {}
    for kind in sorted({*books.traces, *(name for name, _ in tally.counts)}):
        difference = tally.sent(kind) - books.traces.get(kind, 0)
        if difference < 0 or (difference and kind not in _KINDS_NOT_TRACED_FOR_SURE):
            missing[kind] = abs(difference)
    return missing


def times_line(unloaded_s: Sequence[float], loaded_s: Sequence[float], unit: str = "ms") -> Line:
    """First tokens without load and with it, and how much later the late ones come.

    late_p99: above three times the unloaded one and above _EARLY_MS, whichever is later.
    """
    quiet, busy = _spread(unloaded_s), _spread(loaded_s)
    if not (quiet and busy and quiet["p99"]):
        return {"unit": unit, "unloaded": quiet, "loaded": busy, "ratio_p99": None, "late_p99": None}
    ratio = round(busy["p99"] / quiet["p99"], 2)
    late = round(max(0.0, busy["p99"] - max(3 * quiet["p99"], _EARLY_MS)), 1)
    return {"unit": unit, "unloaded": quiet, "loaded": busy, "ratio_p99": ratio, "late_p99": late}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    points = {"median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(seconds, at) * 1000, 1) for name, at in points.items()} | {"n": len(seconds)}
