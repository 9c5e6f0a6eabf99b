"""Sessions in the database: one row for each key and conversation id, brought up to date when a turn ends."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Length

from apiproxy.conf import gateway_settings
from apiproxy.models import Session, SessionHistory
from apiproxy.sessions.eviction import evict, evict_surplus, forget, ttl
from apiproxy.sessions.jobs import Forget, Found, Job, Note, Recall
from apiproxy.sessions.kept import as_json, encode
from apiproxy.sessions.lineage import RESETS, RESUMES, Head, Lineage, chain_of, compare, followed, packed, unpacked
from apiproxy.usage import storable

EVICT_EVERY_S = 60.0


class SessionStore:
    """`desk.Work` on sessions. clock gives Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def open(self) -> None:
        """Nothing to do."""

    def tick(self) -> None:
        """Forgets what is too old or too much."""
        evict(now=self._now())

    def do(self, jobs: Sequence[Job]) -> list[Found | bool | int]:
        """Brings the sessions up to date, in order; then answers what was asked (a note: `Session.unstored_turns`)."""
        # Before the transaction, which keeps others from writing: it takes long where the messages are many.
        chains = [None if not isinstance(job, Note) or job.messages is None else chain_of(job.messages) for job in jobs]
        texts = [_Kept.of(job) if isinstance(job, Note) else None for job in jobs]
        answers: list[Found | bool | int] = []
        with transaction.atomic():
            rows = self._locked([job for job in jobs if isinstance(job, Note)])
            for job, chain, text in zip(jobs, chains, texts, strict=True):
                match job:
                    case Recall():
                        answers.append(recall(job, since=self._now() - ttl()))
                    case Forget():
                        answers.append(forget(job.key_id, job.conversation_id))
                    case Note():
                        answers.append(self._note(job, chain, text, rows))
                    case _:
                        assert_never(job)
            for key_id in {row.key_id for row in rows.values() if row.turns == 1}:
                evict_surplus(key_id)
        return answers

    def _locked(self, notes: Sequence[Note]) -> dict[tuple[int, str], Session]:
        """The rows, locked in one order in all processes; new ones are made."""
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

    def _note(
        self,
        note: Note,
        chain: tuple[bytes, ...] | None,
        text: "_Kept | None",
        rows: dict[tuple[int, str], Session],
    ) -> int:
        row = rows[note.key_id, note.conversation_id]
        if row.last_used_at < self._now() - ttl():
            _begin_anew(row)
        _count(row, note)
        if chain is not None:
            _follow(row, chain)
        row.last_used_at = max(row.last_used_at, datetime.fromtimestamp(note.received_at, tz=UTC))
        lost, reason = note.lost, "error" if note.lost else ""
        if note.store and note.message is not None and (why := _keep(row, text)):
            lost, reason = lost + 1, why
        if lost:
            row.unstored_turns, row.unstored_reason = row.unstored_turns + lost, reason
        row.save()
        return row.unstored_turns

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), tz=UTC)


def recall(job: Recall, *, since: datetime) -> Found:
    """What is kept of the key's conversation; nothing where it was last used before then."""
    others = Session.objects.filter(key_id=job.key_id).exclude(conversation_id=job.conversation_id)
    others_bytes = others.aggregate(sum=Sum("stored_bytes", default=0))["sum"]
    session = Session.objects.filter(
        key_id=job.key_id, conversation_id=job.conversation_id, last_used_at__gte=since
    ).only("pk", "unstored_turns")
    if (row := session.first()) is None:
        return Found(others_bytes=others_bytes)
    told = {"others_bytes": others_bytes, "unstored_turns": row.unstored_turns}
    history = SessionHistory.objects.filter(session=row)
    size_bytes = history.annotate(size=Length("messages")).values_list("size", flat=True).first()
    if size_bytes is None:
        return Found(**told)
    if size_bytes > job.room_bytes:
        return Found(size_bytes=size_bytes, **told)
    found = history.get()
    return Found(bytes(found.messages), size_bytes, bytes(found.answer), **told)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A turn as it is kept: what was asked, what was answered, and the stored response if it is one; as JSON."""

    asked: bytes
    answered: bytes
    response: bytes

    @classmethod
    def of(cls, note: Note) -> "_Kept | None":
        """None where nothing is to be kept, or the messages are not there."""
        if not note.store or note.message is None or note.messages is None:
            return None
        # Without content there is nothing that could come back as a message; what was asked is kept all the same.
        content = note.message.get("content")
        answered = b"\n" + as_json({"role": "assistant", "content": content}) if content else b""
        response = b"" if note.form is None else as_json({"message": note.message, "form": note.form})
        return cls(encode(note.messages), answered, response)


def _keep(row: Session, kept: _Kept | None) -> str:
    """Keeps the turn's messages and answer; why it cannot, or an empty text."""
    if kept is None:
        return "busy"
    history = SessionHistory.objects.filter(session=row)
    if not kept.response and history.exclude(answer=b"").exists():
        return ""  # a stored response is never another one, and goes on under an id of its own
    others = Session.objects.filter(key_id=row.key_id).exclude(pk=row.pk)
    taken_bytes = others.aggregate(sum=Sum("stored_bytes", default=0))["sum"]
    if taken_bytes + len(kept.asked) > gateway_settings().sessions.bytes_per_key:
        return "quota"
    written = {"messages": kept.asked + kept.answered, "answer": kept.response}
    SessionHistory.objects.update_or_create(session=row, defaults=written)
    row.stored_bytes = len(kept.asked) + len(kept.answered) + len(kept.response)
    return ""


def _begin_anew(row: Session) -> None:
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
