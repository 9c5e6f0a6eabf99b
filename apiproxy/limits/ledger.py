"""The reservations and sums in the database.

Each batch is one transaction that first locks the rows of the keys that it is about (`SELECT … FOR UPDATE`; on SQLite
the transaction itself, which begins IMMEDIATE, is the lock) and then decides about each request with what is there. So
what is read stays true until it is written, in any number of processes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from django.db import transaction
from django.db.models import Q

from apiproxy import usage
from apiproxy.errors import FailureKind
from apiproxy.limits import process
from apiproxy.limits.decide import Book, Need, refusal, state_of
from apiproxy.limits.rows import limits_of
from apiproxy.limits.values import NO_LIMITS, NO_STATE, KeyLimits, LimitError, LimitState
from apiproxy.limits.window import WINDOW_MS, Entry
from apiproxy.models import ApiKey, Reservation
from apiproxy.usage import spent

LEASE_MS = 60_000
"""How long a process that says nothing keeps what its runs have reserved."""
BEAT_S = 15.0
"""How often it says something."""
_CLOCK_MARGIN_MS = 5_000
"""By how much the clocks of processes that share a database may differ."""


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


class Ledger:
    """`desk.Work` on reservations and usage. clock gives Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._owner = process.owner()

    def open(self) -> None:
        """Gives back what processes of this node that have ended had reserved."""
        owners = Reservation.objects.filter(settled_ms=None).values_list("owner", flat=True).distinct()
        for name in owners:
            if name != self._owner and process.is_gone(name):
                _give_back(self._now_ms(), owner=name)

    def tick(self) -> None:
        """Renews the lease of this process's runs, gives back those of dead ones, and forgets what no limit needs."""
        self.open()
        now_ms = self._now_ms()
        Reservation.objects.filter(owner=self._owner, settled_ms=None).update(lease_ms=now_ms + LEASE_MS)
        _give_back(now_ms, lease_ms__lte=now_ms)
        Reservation.objects.filter(settled_ms__lte=now_ms - WINDOW_MS).delete()

    def do(self, jobs: Sequence[Job]) -> list[LimitState | LimitError | None]:
        """Settles and releases, then reserves: what has ended makes room for what begins."""
        settles = [job for job in jobs if isinstance(job, Settle)]
        reserves = [job for job in jobs if isinstance(job, Reserve)]
        with transaction.atomic():
            keys = self._locked({*(job.key_id for job in reserves), *_keys_of(settles)})
            now_ms = self._now_ms()
            self._settle(settles, now_ms)
            Reservation.objects.filter(pk__in=[job.run_id for job in jobs if isinstance(job, Release)]).delete()
            for job in jobs:
                if isinstance(job, Abandon):
                    _give_back(now_ms, owner=job.owner)
            answers = self._reserve(reserves, keys, now_ms)
        return [answers.get(job.run_id) if isinstance(job, Reserve) else None for job in jobs]

    def _locked(self, ids: set[int]) -> dict[int, ApiKey]:
        if not ids:
            return {}
        rows = ApiKey.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
        return {row.pk: row for row in rows}

    def _settle(self, settles: Iterable[Settle], now_ms: int) -> None:
        for job in settles:
            if job.reserved:
                Reservation.objects.filter(pk=job.run_id).update(settled_ms=now_ms, tokens=job.tokens, micro_usd=0)
            if job.first_used is not None:
                at, address = job.first_used
                unseen = ApiKey.objects.filter(pk=job.entry.row.key_id, first_used_at=None)
                unseen.update(first_used_at=datetime.fromtimestamp(at, tz=UTC), first_used_from=address[:64])
        usage.add(job.entry for job in settles)

    def _reserve(
        self, reserves: Sequence[Reserve], keys: dict[int, ApiKey], now_ms: int
    ) -> dict[str, LimitState | LimitError]:
        answers: dict[str, LimitState | LimitError] = {}
        books: dict[tuple[int, date], Book] = {}
        entries = _entries(keys, now_ms)
        admitted = []
        for job in reserves:
            row = keys.get(job.key_id)
            if row is None:
                answers[job.run_id] = LimitError(FailureKind.UNAUTHENTICATED, "invalid x-api-key", retryable=False)
                continue
            limits = limits_of(row)
            known = books.get((job.key_id, job.need.day)) or _book(row, limits, job.need.day)
            book = books[job.key_id, job.need.day] = replace(known, entries=entries[job.key_id])
            error = refusal(book, job.need, now_ms=now_ms)
            if error is None:
                need = job.need
                entry = Entry(at_ms=now_ms, tokens=need.tokens, micro_usd=need.micro_usd or 0, day=need.day)
                entries[job.key_id].append(entry)
                admitted.append(self._row(job, now_ms))
            answers[job.run_id] = error or state_of(book, day=job.need.day, now_ms=now_ms)
        Reservation.objects.bulk_create(admitted)
        return answers

    def _row(self, job: Reserve, now_ms: int) -> Reservation:
        return Reservation(
            run_id=job.run_id,
            key_id=job.key_id,
            day=job.need.day,
            at_ms=now_ms,
            lease_ms=now_ms + LEASE_MS,
            tokens=job.need.tokens,
            micro_usd=job.need.micro_usd or 0,
            owner=self._owner,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def current_state(key_id: int, *, day: date, now_ms: int) -> LimitState:
    """How the key's limits stand, without a lock."""
    row = ApiKey.objects.filter(pk=key_id).first()
    limits = NO_LIMITS if row is None else limits_of(row)
    if row is None or limits.unlimited:
        return NO_STATE
    book = replace(_book(row, limits, day), entries=_entries({key_id: row}, now_ms)[key_id])
    return state_of(book, day=day, now_ms=now_ms)


def _book(row: ApiKey, limits: KeyLimits, day: date) -> Book:
    return Book(limits=limits, spent=spent(row.pk, day, limits.budgets))


def _entries(keys: Iterable[int], now_ms: int) -> dict[int, list[Entry]]:
    found: dict[int, list[Entry]] = {key_id: [] for key_id in keys}
    if not found:
        return found
    # What is said to have ended later than now is from before the clock was set back: nobody knows how long ago.
    counting = Q(settled_ms=None) | Q(settled_ms__gt=now_ms - WINDOW_MS, settled_ms__lte=now_ms + _CLOCK_MARGIN_MS)
    columns = ("key_id", "lease_ms", "at_ms", "tokens", "settled_ms", "micro_usd", "day")
    rows = Reservation.objects.filter(counting, key_id__in=found).values_list(*columns)
    for key_id, lease_ms, at_ms, tokens, settled_ms, micro_usd, day in rows:
        at_ms = at_ms if at_ms <= now_ms + _CLOCK_MARGIN_MS else 0
        if settled_ms is None and lease_ms <= now_ms:  # its process has died, and `tick` has not been there yet
            entry = Entry(at_ms=at_ms, settled_ms=now_ms, day=day)
        else:
            entry = Entry(at_ms=at_ms, tokens=tokens, settled_ms=settled_ms, micro_usd=micro_usd, day=day)
        found[key_id].append(entry)
    return found


def _keys_of(settles: Iterable[Settle]) -> set[int]:
    return {job.entry.row.key_id for job in settles if job.reserved or job.first_used is not None}


def _give_back(now_ms: int, **which: object) -> None:
    """Ends reservations of runs that nobody ends any more. That they were asked stays counted for its minute."""
    lost = Reservation.objects.filter(settled_ms=None, **which)
    lost.update(settled_ms=now_ms, tokens=0, micro_usd=0)
