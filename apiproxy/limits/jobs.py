"""The ledger's jobs: what a run asks of its key's limits when it begins, and tells them when it ends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apiproxy.limits import usage
from apiproxy.limits.policy import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Asks for a place within the key's limits; the answer is a LimitState or a LimitError."""

    run_id: str
    key_id: int
    need: Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """A run has ended, and this is what it used. tokens: those that count for the limit per minute."""

    run_id: str
    entry: usage.Entry
    tokens: int
    reserved: bool
    first_used: tuple[float, str] | None = None
    """When and from which address, for a key that this process has not seen before."""


@dataclass(frozen=True, slots=True)
class Release:
    """There was no run after all, or the gateway refused it: as if it had not been asked."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """A process has died: its runs have ended."""

    owner: str


Job = Reserve | Settle | Release | Abandon


def by_key(jobs: Sequence[Job], which: Iterable[int] | None = None) -> dict[int | None, list[int]]:
    """The places of the jobs, by the key whose rows they need; None: they need those of no key."""
    found: dict[int | None, list[int]] = {}
    for at in range(len(jobs)) if which is None else which:
        job = jobs[at]
        key_id = job.key_id if isinstance(job, Reserve) else job.entry.row.key_id if isinstance(job, Settle) else None
        found.setdefault(key_id, []).append(at)
    return found
