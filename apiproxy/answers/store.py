"""Recent answers in the database: one thread writes them, another reads them."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never
from uuid import UUID

from apiproxy.answers.jobs import Find, Forget, Found, Renew, Write, WriterJob
from apiproxy.answers.kept import encode, identifiers_of
from apiproxy.answers.retention import delete_outdated, delete_rows, trim_all, trim_key, ttl
from apiproxy.conf import gateway_settings
from apiproxy.core.sealing import Seal
from apiproxy.db.batch_worker import Handler
from apiproxy.db.connections import DATABASE_ERRORS
from apiproxy.limits.locks import WAIT_MS, lock_timeout
from apiproxy.models import RecentAnswer, RecentAnswerName

logger = logging.getLogger(__name__)

TICK_S = 60.0
MAX_ANSWER_PART = 8
"""An answer may take this part of its key's bytes; a larger one is not stored."""
_RENEW_PART = 4
"""An answer's expiry is renewed once this part of its lifetime is over."""
_MEASURE_PART = 16
"""Sums are measured again after writes of this part of the limit; other processes write too."""

Clock = Callable[[], float]


class AnswerWriter(Handler[WriterJob]):
    """Stores answers, and deletes those over the limits. clock: Unix seconds."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._written = _Written()

    def tick(self) -> None:
        self._written = _Written()
        delete_outdated(_now(self._clock))
        trim_all()

    def do(self, jobs: Sequence[WriterJob]) -> list[bool]:
        """The result of a write is False if the answer is too large to be stored."""
        # Before the transaction, which blocks other writers.
        ready = {at: found for at, job in enumerate(jobs) if isinstance(job, Write) and (found := _Ready.of(job))}
        results = []
        with lock_timeout(WAIT_MS):
            self._insert(list(ready.values()))
            for at, job in enumerate(jobs):
                match job:
                    case Write():
                        results.append(at in ready)
                    case Renew():
                        _renew(job, _now(self._clock))
                        results.append(True)
                    case Forget():
                        results.append(_forget(job))
                    case _:
                        assert_never(job)
        self._trim(ready.values())
        return results

    def _insert(self, ready: "Sequence[_Ready]") -> None:
        if not ready:
            return
        expires_at = _now(self._clock) + ttl()
        rows = RecentAnswer.objects.bulk_create(
            RecentAnswer(key_id=it.key_id, expires_at=expires_at, size_bytes=len(it.sealed), sealed=it.sealed)
            for it in ready
        )
        # Sorted against deadlocks. Of answers with the same name, the newest counts.
        names = {name: row.pk for it, row in zip(ready, rows, strict=True) for name in it.names}
        RecentAnswerName.objects.bulk_create(
            [RecentAnswerName(name=name, answer_id=names[name]) for name in sorted(names)],
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["answer"],
        )

    def _trim(self, ready: "Iterable[_Ready]") -> None:
        for it in ready:
            self._written.add(it.key_id, len(it.sealed))
        try:
            for key_id in self._written.keys_to_measure():
                trim_key(key_id)
            if self._written.must_measure_all():
                trim_all()
        except DATABASE_ERRORS:  # the answers are stored: a retry of the jobs would store them twice
            self._written = _Written()
            logger.warning("answer.not_trimmed", exc_info=True)


class AnswerReader(Handler[Find]):
    """Reads answers. clock: Unix seconds."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock

    def do(self, jobs: Sequence[Find]) -> list[Found]:
        return [self._find(job) for job in jobs]

    def _find(self, job: Find) -> Found:
        """Two queries by primary key: sizes first, so that a large sum is never read."""
        now = _now(self._clock)
        rows = RecentAnswerName.objects.filter(
            name__in=job.names, answer__key_id=job.key_id, answer__expires_at__gt=now
        ).values_list("name", "answer_id", "answer__size_bytes", "answer__expires_at")
        found = {name: (answer_id, size_bytes, expires_at) for name, answer_id, size_bytes, expires_at in rows}
        left_bytes, wanted = job.room_bytes, dict[int, datetime]()
        for name in job.names:
            if name not in found or found[name][0] in wanted:
                continue
            answer_id, size_bytes, expires_at = found[name]
            if size_bytes <= left_bytes:
                left_bytes -= size_bytes
                wanted[answer_id] = expires_at
        sealed = RecentAnswer.objects.filter(pk__in=wanted).values_list("pk", "sealed") if wanted else ()
        renew_before = now + ttl() - ttl() / _RENEW_PART
        return Found(
            answers={name: answer_id for name, (answer_id, _, _) in found.items()},
            sealed={answer_id: bytes(data) for answer_id, data in sealed},
            due=tuple(answer_id for answer_id, expires_at in wanted.items() if expires_at < renew_before),
        )


@dataclass(frozen=True, slots=True)
class _Ready:
    """The expensive part of a write that needs no database."""

    key_id: int
    names: tuple[UUID, ...]
    sealed: bytes

    @classmethod
    def of(cls, job: Write) -> "_Ready | None":
        """None if the answer is too large."""
        seal = Seal(job.keeping.seal_key, job.key_id)
        names = tuple(map(seal.name, identifiers_of(job.message)))
        sealed = seal.seal(names[0], encode(job.message, model=job.model, keeping=job.keeping))
        limits = gateway_settings().recent_answers
        return cls(job.key_id, names, sealed) if len(sealed) <= limits.bytes_per_key // MAX_ANSWER_PART else None


class _Written:
    """Bytes and answers written by this process since the sums were measured, by key and in total."""

    def __init__(self) -> None:
        self._bytes: Counter[int] = Counter()
        self._count: Counter[int] = Counter()
        self._new: set[int] = set()
        self._known: set[int] = set()
        self._total_bytes = 0

    def add(self, key_id: int, size_bytes: int) -> None:
        self._bytes[key_id] += size_bytes
        self._count[key_id] += 1
        self._total_bytes += size_bytes
        self._new.add(key_id)

    def keys_to_measure(self) -> list[int]:
        """Keys that may be over their limits; each counts as measured from now on."""
        limits = gateway_settings().recent_answers
        max_bytes, max_count = limits.bytes_per_key // _MEASURE_PART, limits.max_per_key // _MEASURE_PART
        new, self._new = self._new, set()
        due = [
            key_id
            for key_id in new
            if key_id not in self._known or self._bytes[key_id] > max_bytes or self._count[key_id] > max_count
        ]
        for key_id in due:
            self._known.add(key_id)
            del self._bytes[key_id], self._count[key_id]
        return due

    def must_measure_all(self) -> bool:
        """True if all keys together may be over their limit."""
        if self._total_bytes <= gateway_settings().recent_answers.total_bytes // _MEASURE_PART:
            return False
        self._total_bytes = 0
        return True


def _renew(job: Renew, now: datetime) -> None:
    RecentAnswer.objects.filter(pk__in=job.answer_ids, expires_at__gt=now).update(expires_at=now + ttl())


def _forget(job: Forget) -> bool:
    names = RecentAnswerName.objects.filter(name=job.name, answer__key_id=job.key_id)
    return delete_rows(names.values_list("answer_id", flat=True)) > 0


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock(), tz=UTC)
