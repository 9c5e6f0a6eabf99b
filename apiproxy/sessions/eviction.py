"""Deletion of sessions: expired, over the limit per key, or by their owner."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apiproxy.conf import gateway_settings
from apiproxy.models import Session, SessionHistory


def forget(key_id: int, conversation_id: str) -> bool:
    """Delete the key's stored response with its conversation; False if there is none."""
    stored = SessionHistory.objects.exclude(answer=b"")
    mine = Session.objects.filter(key_id=key_id, conversation_id=conversation_id, history__in=stored)
    return _delete(mine) > 0


def evict(*, now: datetime | None = None, sessions: "QuerySet[Session] | None" = None) -> int:
    """Delete expired sessions and those over the limit per key; return their number.

    sessions: restricts the deletion to these.
    """
    considered = Session.objects.all() if sessions is None else sessions
    deleted = _delete_free(considered.filter(last_used_at__lt=(now or timezone.now()) - ttl()))
    for key_id in list(considered.order_by("key_id").values_list("key_id", flat=True).distinct()):
        deleted += evict_surplus(key_id)
    return deleted


def evict_surplus(key_id: int) -> int:
    """Delete the key's oldest sessions over the limit; return their number."""
    most = gateway_settings().sessions.max_per_key
    surplus = Session.objects.filter(key_id=key_id).order_by("-last_used_at", "-pk").values_list("pk", flat=True)[most:]
    return _delete_free(Session.objects.filter(pk__in=list(surplus)))


def _delete_free(sessions: "QuerySet[Session]") -> int:
    """Delete the sessions that are not locked; the others are left for the next run."""
    with transaction.atomic():
        free = sessions.order_by("pk").select_for_update(skip_locked=True).values_list("pk", flat=True)
        return _delete(Session.objects.filter(pk__in=list(free)))


def _delete(sessions: "QuerySet[Session]") -> int:
    _, by_model = sessions.delete()
    return by_model.get(Session._meta.label, 0)


def ttl() -> timedelta:
    """Lifetime of a session after its last use."""
    return timedelta(hours=gateway_settings().sessions.ttl_hours)
