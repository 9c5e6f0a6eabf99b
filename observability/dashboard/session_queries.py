"""Queries of the gateway's conversations, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from django.db.models import Q

from apiproxy.core.limits import MICRO
from apiproxy.models import Session

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SessionRow(TypedDict):
    """A conversation of a key. Times are Unix seconds; cost is an estimate in US dollars.

    unpriced: turns whose cost is missing from `cost`, wholly or in part. change: what the last turn did to the history
    (`resume`, `reset`, …). differed_at: index of the message that differed, from 0. unstored: answered turns that
    should have been stored and could not be.
    """

    key: str
    key_id: int
    conversation: str
    dialect: str
    model: str
    created: float
    last_used: float
    messages: int
    turns: int
    resumes: int
    resets: int
    failures: int
    change: str
    differed_at: int | None
    unstored: int
    tokens: int
    cost: float
    unpriced: int


@dataclass(frozen=True, slots=True)
class SessionPage:
    """next: the cursor of the following page; None on the last."""

    rows: Sequence[SessionRow]
    next: str | None


async def page_of_sessions(*, text: str, limit: int, cursor: str) -> SessionPage:
    """Sessions of all keys whose id or key begins with the text. Raises ValueError for an invalid cursor."""
    rows = Session.objects.defer("chain", "heads").order_by("-last_used_at", "-pk")
    if text:
        rows = rows.filter(Q(conversation_id__startswith=text) | Q(key_label__startswith=text))
    if cursor:
        at, pk = _position(cursor)
        rows = rows.filter(Q(last_used_at__lt=at) | Q(last_used_at=at, pk__lt=pk))
    found = [row async for row in rows[: limit + 1]]
    following = _cursor(found[limit - 1]) if len(found) > limit else None
    return SessionPage([_row(session) for session in found[:limit]], following)


def _cursor(session: Session) -> str:
    return f"{(session.last_used_at - _EPOCH) // timedelta(microseconds=1)}-{session.pk}"


def _position(cursor: str) -> tuple[datetime, int]:
    at, _, pk = cursor.partition("-")
    try:
        return _EPOCH + timedelta(microseconds=int(at)), int(pk)
    except OverflowError as error:
        raise ValueError(cursor) from error


def _row(session: Session) -> SessionRow:
    return {
        "key": session.key_label,
        "key_id": session.key_id,
        "conversation": session.conversation_id,
        "dialect": session.dialect,
        "model": session.model,
        "created": session.created_at.timestamp(),
        "last_used": session.last_used_at.timestamp(),
        "messages": session.message_count,
        "turns": session.turns,
        "resumes": session.resumes,
        "resets": session.resets,
        "failures": session.failures,
        "change": session.last_change,
        "differed_at": session.differed_at,
        "unstored": session.unstored_turns,
        "tokens": session.input_tokens
        + session.output_tokens
        + session.cache_read_tokens
        + session.cache_creation_tokens,
        "cost": session.cost_micro_usd / MICRO,
        "unpriced": session.unpriced + session.partly_unpriced,
    }
