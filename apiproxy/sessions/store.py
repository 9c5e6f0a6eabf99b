"""Sessions in the database: one row per key and conversation id."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from django.db import OperationalError
from django.db.models import Sum
from django.db.models.functions import Length

from apiproxy.conf import gateway_settings
from apiproxy.db.batch_worker import Handler
from apiproxy.db.jobs import LATER
from apiproxy.limits.locks import PROBE_MS, WAIT_MS, WAIT_SINGLE_MS, LockedKeys, is_lock_timeout, lock_timeout
from apiproxy.limits.usage import storable
from apiproxy.models import Session, SessionHistory
from apiproxy.sessions.eviction import evict, evict_surplus, forget, ttl
from apiproxy.sessions.jobs import Answer, Conversation, DeleteResponse, Found, Job, Note, ReadHistory
from apiproxy.sessions.kept import as_json, encode
from apiproxy.sessions.lineage import RESETS, RESUMES, Head, Lineage, chain_of, compare, followed, packed, unpacked

logger = logging.getLogger(__name__)

EVICT_EVERY_S = 60.0


class SessionStore(Handler[Job]):
    """Database work of the session recorder. clock: Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._locked_rows: LockedKeys[Conversation] = LockedKeys()

    def tick(self) -> None:
        with lock_timeout(WAIT_MS):
            evict(now=self._now())

    def do(self, jobs: Sequence[Job]) -> list[Answer]:
        """Run the jobs in order. The result of a note is `Session.unstored_turns`.

        All jobs of a conversation locked by another session are answered LATER, including reads, which would miss the
        pending turns.
        """
        groups: dict[Conversation, list[int]] = {}
        for at, job in enumerate(jobs):
            groups.setdefault((job.key_id, job.conversation_id), []).append(at)
        groups = {which: places for which, places in groups.items() if self._may_try(which)}
        together = sorted(at for places in groups.values() for at in places)
        # Before the transaction, which blocks other writers: slow for many messages.
        ready = {at: _Ready.of(job) for at in together if isinstance(job := jobs[at], Note)}
        answers: dict[int, Answer] = {}
        try:
            answers = self._do(jobs, together, ready, wait_ms=WAIT_MS)
        except OperationalError as error:
            if not is_lock_timeout(error):
                raise
            for which, places in groups.items():
                answers |= self._do_conversation(which, jobs, places, ready)
        return [answers.get(at, LATER) for at in range(len(jobs))]

    def _may_try(self, which: Conversation) -> bool:
        """False if the conversation is known to be locked; probes it when an attempt is due."""
        if which not in self._locked_rows:
            return True
        if not self._locked_rows.is_due(which):
            return False
        key_id, conversation_id = which
        try:
            with lock_timeout(PROBE_MS):
                Session.objects.select_for_update().filter(key_id=key_id, conversation_id=conversation_id).first()
        except OperationalError as error:
            if not is_lock_timeout(error):
                raise
            self._locked_rows.mark_locked(which)
            return False
        return True

    def _do_conversation(
        self, which: Conversation, jobs: Sequence[Job], places: Sequence[int], ready: "Mapping[int, _Ready]"
    ) -> dict[int, Answer]:
        """Run the jobs of one conversation; no results if it is locked."""
        try:
            answers = self._do(jobs, places, ready, wait_ms=WAIT_SINGLE_MS)
        except OperationalError as error:
            if not is_lock_timeout(error):
                raise
            if which not in self._locked_rows:
                logger.warning("session.locked", extra={"key": which[0]})
            self._locked_rows.mark_locked(which)
            return {}
        return answers

    def _do(
        self, all_jobs: Sequence[Job], places: Sequence[int], ready: "Mapping[int, _Ready]", *, wait_ms: int
    ) -> dict[int, Answer]:
        """Run the jobs at these indexes in one transaction; results by index."""
        if not places:
            return {}
        jobs = {at: all_jobs[at] for at in places}
        answers: dict[int, Answer] = {}
        with lock_timeout(wait_ms):
            rows = self._locked([job for job in jobs.values() if isinstance(job, Note)])
            for at, job in jobs.items():
                match job:
                    case ReadHistory():
                        answers[at] = read_history(job, since=self._now() - ttl())
                    case DeleteResponse():
                        answers[at] = forget(job.key_id, job.conversation_id)
                    case Note():
                        answers[at] = self._note(job, ready[at], rows)
                    case _:
                        assert_never(job)
            for key_id in {row.key_id for row in rows.values() if row.turns == 1}:
                evict_surplus(key_id)
        for job in jobs.values():
            self._locked_rows.mark_free((job.key_id, job.conversation_id))
        return answers

    def _locked(self, notes: Sequence[Note]) -> dict[tuple[int, str], Session]:
        """Lock or create the rows, in sorted order, which prevents deadlocks."""
        rows = {}
        for key_id, conversation_id in sorted({(note.key_id, note.conversation_id) for note in notes}):
            which = {"key_id": key_id, "conversation_id": conversation_id}
            locked = Session.objects.select_for_update().filter(**which)
            if not (row := locked.first()):
                new = Session(**which, created_at=self._now(), last_used_at=self._now())
                Session.objects.bulk_create([new], ignore_conflicts=True)  # or another process was first
                row = locked.get()
            rows[key_id, conversation_id] = row
        return rows

    def _note(self, note: Note, ready: "_Ready", rows: dict[Conversation, Session]) -> int:
        row = rows[note.key_id, note.conversation_id]
        if row.last_used_at < self._now() - ttl():
            _reset(row)
        _count(row, note)
        if ready.chain is not None:
            _follow(row, ready.chain)
        row.last_used_at = max(row.last_used_at, datetime.fromtimestamp(note.received_at, tz=UTC))
        lost, reason = note.lost, "error" if note.lost else ""
        if note.store and note.message is not None and (why := _keep(row, ready.kept)):
            lost, reason = lost + 1, why
        if lost:
            row.unstored_turns, row.unstored_reason = row.unstored_turns + lost, reason
        row.save()
        return row.unstored_turns

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), tz=UTC)


def read_history(job: ReadHistory, *, since: datetime) -> Found:
    """Read the stored messages of a conversation that was used after `since`."""
    others = Session.objects.filter(key_id=job.key_id).exclude(conversation_id=job.conversation_id)
    others_bytes = others.aggregate(sum=Sum("stored_bytes", default=0))["sum"]
    session = Session.objects.filter(
        key_id=job.key_id, conversation_id=job.conversation_id, last_used_at__gte=since
    ).only("pk", "unstored_turns")
    if (row := session.first()) is None:
        return Found(others_bytes=others_bytes)
    counts = {"others_bytes": others_bytes, "unstored_turns": row.unstored_turns}
    history = SessionHistory.objects.filter(session=row)
    size_bytes = history.annotate(size=Length("messages")).values_list("size", flat=True).first()
    if size_bytes is None:
        return Found(**counts)
    if size_bytes > job.room_bytes:
        return Found(size_bytes=size_bytes, **counts)
    found = history.get()
    return Found(bytes(found.messages), size_bytes, bytes(found.answer), **counts)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A turn as JSON: messages of the request, answer, and stored response."""

    asked: bytes
    answered: bytes
    response: bytes

    @classmethod
    def of(cls, note: Note) -> "_Kept | None":
        """None if the turn is not to be stored or its messages were dropped."""
        if not note.store or note.message is None or note.messages is None:
            return None
        # An answer without content cannot be sent back as a message; the request is stored nevertheless.
        content = note.message.get("content")
        answered = b"\n" + as_json({"role": "assistant", "content": content}) if content else b""
        response = b"" if note.form is None else as_json({"message": note.message, "form": note.form})
        return cls(encode(note.messages), answered, response)


@dataclass(frozen=True, slots=True)
class _Ready:
    """The expensive part of a note that needs no database."""

    chain: tuple[bytes, ...] | None
    kept: _Kept | None

    @classmethod
    def of(cls, note: Note) -> "_Ready":
        return cls(None if note.messages is None else chain_of(note.messages), _Kept.of(note))


def _keep(row: Session, kept: _Kept | None) -> str:
    """Store the turn's messages and answer; return the reason if not possible."""
    if kept is None:
        return "busy"
    history = SessionHistory.objects.filter(session=row)
    if not kept.response and history.exclude(answer=b"").exists():
        return ""  # a stored response never changes; it is continued under a new id
    others = Session.objects.filter(key_id=row.key_id).exclude(pk=row.pk)
    taken_bytes = others.aggregate(sum=Sum("stored_bytes", default=0))["sum"]
    if taken_bytes + len(kept.asked) > gateway_settings().sessions.bytes_per_key:
        return "quota"
    written = {"messages": kept.asked + kept.answered, "answer": kept.response}
    SessionHistory.objects.update_or_create(session=row, defaults=written)
    row.stored_bytes = len(kept.asked) + len(kept.answered) + len(kept.response)
    return ""


def _reset(row: Session) -> None:
    SessionHistory.objects.filter(session=row).delete()
    fresh = Session(pk=row.pk, key_id=row.key_id, conversation_id=row.conversation_id)
    for column in Session._meta.concrete_fields:
        setattr(row, column.attname, getattr(fresh, column.attname))


def _count(row: Session, note: Note) -> None:
    sums = note.sums
    row.key_label, row.dialect, row.model = note.key_label[:100], note.dialect, storable(note.model)
    row.turns += 1
    row.failures += sums.failures
    row.input_tokens += sums.input_tokens
    row.output_tokens += sums.output_tokens
    row.cache_read_tokens += sums.cache_read_tokens
    row.cache_creation_tokens += sums.cache_creation_tokens
    row.cost_micro_usd += sums.cost_micro_usd
    row.unpriced += sums.unpriced
    row.partly_unpriced += sums.partly_unpriced


def _follow(row: Session, chain: tuple[bytes, ...]) -> None:
    known = None
    if row.heads:
        heads = tuple(Head(count, bytes.fromhex(digest)) for count, digest in row.heads)
        known = Lineage(unpacked(bytes(row.chain)), heads)
    seen = compare(known, chain)
    after = followed(known, chain)
    row.resumes += seen.change in RESUMES
    row.resets += seen.change in RESETS
    row.last_change, row.differed_at = seen.change.value, seen.differed_at
    row.message_count = len(chain)
    row.chain = packed(after.chain)
    row.heads = [[head.count, head.digest.hex()] for head in after.heads]
