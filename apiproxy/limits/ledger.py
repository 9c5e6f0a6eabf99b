"""Reservations and usage in the database.

Each batch is one transaction that first locks the rows of its keys (`SELECT … FOR UPDATE`; on SQLite the transaction
itself, which begins IMMEDIATE, is the lock) and then decides on each request. The decision therefore holds across
processes. Jobs of a key whose row another session keeps locked are retried later and delay no other key.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date

from django.db import OperationalError
from django.db.models import Q

from apiproxy.core.errors import FailureKind
from apiproxy.core.limits import NO_LIMITS, NO_STATE, KeyLimits, LimitError, LimitState
from apiproxy.db import process_id
from apiproxy.db.batch_worker import Handler
from apiproxy.db.jobs import LATER, Later
from apiproxy.limits.jobs import Job, Release, ReleaseOwner, Reserve, Settle, by_key
from apiproxy.limits.locks import PROBE_MS, WAIT_MS, WAIT_SINGLE_MS, LockedKeys, is_lock_timeout, lock_timeout
from apiproxy.limits.open_runs import OpenRuns
from apiproxy.limits.policy import KeyState, limit_state, refusal
from apiproxy.limits.settlement import settle
from apiproxy.limits.usage import spent
from apiproxy.limits.window import WINDOW_MS, WindowEntry
from apiproxy.models import ApiKey, Reservation

logger = logging.getLogger(__name__)

LEASE_MS = 60_000
"""Lifetime of a reservation that its process does not renew."""
RENEW_S = 15.0
_RENEW_BATCH = 500
_MAX_COLUMN = 2**62
"""Cap for reserved amounts: above every limit, within the column's range."""
_CLOCK_MARGIN_MS = 5_000
"""Allowed difference between the clocks of processes that share a database."""


Answer = LimitState | LimitError | Later | None


class Ledger(Handler[Job]):
    """Database work of usage accounting. clock: Unix seconds.

    runs: this process's runs with a reservation; only their leases are renewed, so that the reservation of a run whose
    settlement was lost expires. None: all leases are renewed.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, runs: OpenRuns | None = None) -> None:
        self._clock = clock
        self._runs = runs
        self._owner = process_id.owner()
        self._locked_keys: LockedKeys[int | None] = LockedKeys()
        self.dropped = 0
        """Runs whose usage the database rejected."""

    def open(self) -> None:
        """End the reservations of dead processes of this node."""
        owners = Reservation.objects.filter(settled_ms=None).values_list("owner", flat=True).distinct()
        for name in owners:
            if name != self._owner and process_id.is_gone(name):
                with lock_timeout(WAIT_MS):
                    _end_reservations(self._now_ms(), owner=name)

    def tick(self) -> None:
        """Renew leases, end the reservations of dead processes, and delete those outside every window."""
        now_ms = self._now_ms()
        self._renew(now_ms)
        self.open()
        with lock_timeout(WAIT_MS):
            _end_reservations(now_ms, lease_ms__lte=now_ms)
        with lock_timeout(WAIT_MS):
            Reservation.objects.filter(settled_ms__lte=now_ms - WINDOW_MS).delete()

    def do(self, jobs: Sequence[Job]) -> list[Answer]:
        """Settle and release, then reserve: ended runs make room for new ones.

        Jobs of a key locked by another session are answered LATER.
        """
        answers: dict[int, Answer] = {}
        together = []
        for key_id, group in by_key(jobs).items():
            if key_id not in self._locked_keys:
                together += group
            elif self._locked_keys.is_due(key_id):
                answers |= self._do_key(jobs, key_id, group, wait_ms=PROBE_MS)
        try:
            answers |= self._do(jobs, together, wait_ms=WAIT_MS)
        except OperationalError as error:
            if not is_lock_timeout(error):
                raise
            for key_id, group in by_key(jobs, together).items():
                answers |= self._do_key(jobs, key_id, group, wait_ms=WAIT_SINGLE_MS)
        return [answers.get(at, LATER) for at in range(len(jobs))]

    def _do_key(
        self, jobs: Sequence[Job], key_id: int | None, which: Sequence[int], *, wait_ms: int
    ) -> dict[int, Answer]:
        """Run the jobs of one key; no results if it is locked."""
        try:
            answers = self._do(jobs, which, wait_ms=wait_ms)
        except OperationalError as error:
            if not is_lock_timeout(error):
                raise
            if key_id not in self._locked_keys:
                logger.warning("ledger.key_locked", extra={"key": key_id})
            self._locked_keys.mark_locked(key_id)
            return {}
        if self._locked_keys.mark_free(key_id):
            logger.warning("ledger.key_free", extra={"key": key_id})
        return answers

    def _do(self, all_jobs: Sequence[Job], which: Sequence[int], *, wait_ms: int) -> dict[int, Answer]:
        """Run the jobs at these indexes in one transaction; results by index."""
        if not which:
            return {}
        jobs = [all_jobs[at] for at in which]
        settles = [job for job in jobs if isinstance(job, Settle)]
        reserves = [job for job in jobs if isinstance(job, Reserve)]
        with lock_timeout(wait_ms):
            keys = self._locked({*(job.key_id for job in reserves), *_keys_of(settles)})
            now_ms = self._now_ms()
            lost = settle(settles, now_ms)
            Reservation.objects.filter(pk__in=[job.run_id for job in jobs if isinstance(job, Release)]).delete()
            for job in jobs:
                if isinstance(job, ReleaseOwner):
                    _end_reservations(now_ms, owner=job.owner)
            answers = self._reserve(reserves, keys, now_ms)
        self.dropped += lost
        if self._runs is not None:
            self._runs.forget(job.run_id for job in settles)
        places = zip(which, jobs, strict=True)
        return {at: answers[job.run_id] if isinstance(job, Reserve) else None for at, job in places}

    def _renew(self, now_ms: int) -> None:
        with lock_timeout(WAIT_MS):
            # Rows locked by another session are skipped, else no lease would be renewed.
            held = Reservation.objects.select_for_update(skip_locked=True).filter(owner=self._owner, settled_ms=None)
            run_ids = held.values_list("run_id", flat=True)
            running = [run_id for run_id in run_ids if self._runs is None or self._runs.holds(run_id)]
            for start in range(0, len(running), _RENEW_BATCH):
                some = Reservation.objects.filter(pk__in=running[start : start + _RENEW_BATCH])
                some.update(lease_ms=now_ms + LEASE_MS)

    def _locked(self, ids: set[int]) -> dict[int, ApiKey]:
        if not ids:
            return {}
        rows = ApiKey.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
        return {row.pk: row for row in rows}

    def _reserve(
        self, reserves: Sequence[Reserve], keys: dict[int, ApiKey], now_ms: int
    ) -> dict[str, LimitState | LimitError]:
        answers: dict[str, LimitState | LimitError] = {}
        states: dict[tuple[int, date], KeyState] = {}
        entries = _entries(keys, now_ms)
        admitted = []
        for job in reserves:
            row = keys.get(job.key_id)
            if row is None:
                answers[job.run_id] = LimitError(FailureKind.UNAUTHENTICATED, "invalid x-api-key", retryable=False)
                continue
            limits = row.limits
            known = states.get((job.key_id, job.cost.day)) or _key_state(row, limits, job.cost.day)
            key = states[job.key_id, job.cost.day] = replace(known, entries=entries[job.key_id])
            error = refusal(key, job.cost, now_ms=now_ms)
            if error is None:
                cost = job.cost
                entry = WindowEntry(at_ms=now_ms, tokens=cost.tokens, micro_usd=cost.micro_usd or 0, day=cost.day)
                entries[job.key_id].append(entry)
                admitted.append(self._row(job, now_ms))
            answers[job.run_id] = error or limit_state(key, day=job.cost.day, now_ms=now_ms)
        Reservation.objects.bulk_create(admitted)
        return answers

    def _row(self, job: Reserve, now_ms: int) -> Reservation:
        return Reservation(
            run_id=job.run_id,
            key_id=job.key_id,
            day=job.cost.day,
            at_ms=now_ms,
            lease_ms=now_ms + LEASE_MS,
            tokens=min(job.cost.tokens, _MAX_COLUMN),
            micro_usd=min(job.cost.micro_usd or 0, _MAX_COLUMN),
            owner=self._owner,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def current_state(key_id: int, *, day: date, now_ms: int) -> LimitState:
    """State of the key's limits, read without a lock."""
    row = ApiKey.objects.filter(pk=key_id).first()
    limits = NO_LIMITS if row is None else row.limits
    if row is None or limits.unlimited:
        return NO_STATE
    key = replace(_key_state(row, limits, day), entries=_entries({key_id: row}, now_ms)[key_id])
    return limit_state(key, day=day, now_ms=now_ms)


def _key_state(row: ApiKey, limits: KeyLimits, day: date) -> KeyState:
    return KeyState(limits=limits, spent=spent(row.pk, day, limits.budgets))


def _entries(keys: Iterable[int], now_ms: int) -> dict[int, list[WindowEntry]]:
    found: dict[int, list[WindowEntry]] = {key_id: [] for key_id in keys}
    if not found:
        return found
    # An end in the future dates from before the clock was set back: its age is unknown, so it is ignored.
    counting = Q(settled_ms=None) | Q(settled_ms__gt=now_ms - WINDOW_MS, settled_ms__lte=now_ms + _CLOCK_MARGIN_MS)
    columns = ("key_id", "lease_ms", "at_ms", "tokens", "settled_ms", "micro_usd", "day")
    rows = Reservation.objects.filter(counting, key_id__in=found).values_list(*columns)
    for key_id, lease_ms, at_ms, tokens, settled_ms, micro_usd, day in rows:
        at_ms = at_ms if at_ms <= now_ms + _CLOCK_MARGIN_MS else 0
        if settled_ms is None and lease_ms <= now_ms:  # its process died after the last `tick`
            entry = WindowEntry(at_ms=at_ms, settled_ms=now_ms, day=day)
        else:
            entry = WindowEntry(at_ms=at_ms, tokens=tokens, settled_ms=settled_ms, micro_usd=micro_usd, day=day)
        found[key_id].append(entry)
    return found


def _keys_of(settles: Iterable[Settle]) -> set[int]:
    return {job.entry.row.key_id for job in settles if job.reserved or job.first_used is not None}


def _end_reservations(now_ms: int, **which: object) -> None:
    """End reservations; the requests still count towards the limit per minute."""
    lost = Reservation.objects.filter(settled_ms=None, **which)
    lost.update(settled_ms=now_ms, tokens=0, micro_usd=0)
