"""Sessions as JSON. A key has access to its own; scope `admin` to all."""

from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from apiproxy.core.limits import MICRO
from apiproxy.core.principal import Principal
from apiproxy.models import Session
from apiproxy.sessions.eviction import evict

ACTIVE = timedelta(minutes=10)
"""Time after its last use for which a session counts as active."""
MAX_LISTED = 1_000

_SUMS = ("turns", "resumes", "resets", "failures", "input_tokens", "cache_read_tokens", "cache_creation_tokens")


async def listing(principal: Principal) -> dict[str, Any]:
    """Sessions, most recently used first, and their totals."""
    return await sync_to_async(_listing)(visible_to(principal))


async def stats(sessions: "QuerySet[Session] | None" = None) -> dict[str, Any]:
    """Totals of the sessions, by default of all keys."""
    return await sync_to_async(_stats)(Session.objects.all() if sessions is None else sessions)


async def clean_up(principal: Principal) -> dict[str, int]:
    """Delete expired and surplus sessions; return how many, and how many remain."""
    return await sync_to_async(_clean_up)(visible_to(principal))


async def delete(principal: Principal, conversation_id: str) -> int:
    """Delete the conversation (scope `admin`: of all keys); return how many."""
    deleted, by_model = await visible_to(principal).filter(conversation_id=conversation_id).adelete()
    return by_model.get(Session._meta.label, 0) if deleted else 0


def visible_to(principal: Principal) -> "QuerySet[Session]":
    """Sessions that the key may access."""
    return Session.objects.all() if "admin" in principal.scopes else Session.objects.filter(key_id=principal.key_id)


def _listing(sessions: "QuerySet[Session]") -> dict[str, Any]:
    rows = sessions.defer("chain", "heads").order_by("-last_used_at", "-pk")[:MAX_LISTED]
    return {"sessions": [_as_json(row) for row in rows], "stats": _stats(sessions)}


def _clean_up(sessions: "QuerySet[Session]") -> dict[str, int]:
    evicted = evict(sessions=sessions)
    return {"evicted": evicted, "remaining": sessions.count()}


def _as_json(row: Session) -> dict[str, Any]:
    return {
        "conversationId": row.conversation_id,
        "createdAt": row.created_at.isoformat(),
        "lastUsed": row.last_used_at.isoformat(),
        "messageCount": row.message_count,
        "model": row.model,
        "resumeCount": row.resumes,
        "failureCount": row.failures,
        "turnCount": row.turns,
        "resetCount": row.resets,
        "lastChange": row.last_change or None,
        "differedAt": row.differed_at,
        "hitRate": _rate(row.resumes, row.turns),
        "usage": {
            "input_tokens": row.input_tokens,
            "output_tokens": row.output_tokens,
            "cache_read_input_tokens": row.cache_read_tokens,
            "cache_creation_input_tokens": row.cache_creation_tokens,
        },
        "storedBytes": row.stored_bytes,
        "unstoredTurns": row.unstored_turns,
        "unstoredReason": row.unstored_reason or None,
        "costUsd": row.cost_micro_usd / MICRO,
        "keyId": row.key_id,
        "keyLabel": row.key_label,
        "dialect": row.dialect,
    }


def _stats(sessions: "QuerySet[Session]") -> dict[str, Any]:
    since = timezone.now() - ACTIVE
    sums = sessions.order_by().aggregate(
        total=Count("pk"),
        active=Count("pk", filter=Q(last_used_at__gte=since)),
        **{name: Sum(name, default=0) for name in _SUMS},
    )
    prompt = sums["input_tokens"] + sums["cache_read_tokens"] + sums["cache_creation_tokens"]
    return {
        "totalSessions": sums["total"],
        "activeSessions": sums["active"],
        "totalResumes": sums["resumes"],
        "totalResets": sums["resets"],
        "totalFailures": sums["failures"],
        "hits": sums["resumes"],
        "misses": sums["turns"] - sums["resumes"],
        "hitRate": _rate(sums["resumes"], sums["turns"]),
        "cacheHitRate": _rate(sums["cache_read_tokens"], prompt),
    }


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
