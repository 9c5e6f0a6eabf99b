"""Jobs of the ledger."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apiproxy.limits import usage
from apiproxy.limits.policy import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Reserve a run's maximum cost. The result is a LimitState or a LimitError."""

    run_id: str
    key_id: int
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Record the usage of a run. tokens: those counted by the limit per minute."""

    run_id: str
    entry: usage.UsageEntry
    tokens: int
    reserved: bool
    first_used: tuple[float, str] | None = None
    """Time and client address, if this process has not seen the key before."""


@dataclass(frozen=True, slots=True)
class Release:
    """Delete the reservation of a turn that did not run or was rejected."""

    run_id: str


@dataclass(frozen=True, slots=True)
class ReleaseOwner:
    """End the reservations of a dead process."""

    owner: str


Job = Reserve | Settle | Release | ReleaseOwner


def by_key(jobs: Sequence[Job], which: Iterable[int] | None = None) -> dict[int | None, list[int]]:
    """Indexes of the jobs, grouped by the key whose rows they lock; None: no key."""
    found: dict[int | None, list[int]] = {}
    for at in range(len(jobs)) if which is None else which:
        job = jobs[at]
        key_id = job.key_id if isinstance(job, Reserve) else job.entry.row.key_id if isinstance(job, Settle) else None
        found.setdefault(key_id, []).append(at)
    return found
