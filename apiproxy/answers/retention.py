"""Deletion of recent answers: expired, over the limits, or of keys that have ended."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum

from apiproxy.conf import gateway_settings
from apiproxy.limits.locks import WAIT_MS, lock_timeout
from apiproxy.models import ApiKey, RecentAnswer, RecentAnswerName

_ROWS = 500
"""Rows deleted in one transaction."""
_TICK_S = 5.0
"""Time after which a deletion leaves the rest to the next one."""


def ttl() -> timedelta:
    """Lifetime of an answer after its last use."""
    return timedelta(minutes=gateway_settings().recent_answers.ttl_minutes)


def delete_outdated(now: datetime) -> int:
    """Delete expired answers, and those of revoked, expired and deleted keys; return their number.

    So are answers that would expire later than one made now, which a wrong clock has written.
    """
    outdated = Q(expires_at__lte=now) | Q(expires_at__gt=now + 2 * ttl())
    usable = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
    known = set(RecentAnswer.objects.order_by("key_id").values_list("key_id", flat=True).distinct())
    ended = known - set(usable.filter(pk__in=known).values_list("pk", flat=True))
    return _delete(RecentAnswer.objects.filter(outdated | Q(key_id__in=ended)))


def delete_of_key(key_id: int) -> int:
    """Delete a key's answers; return their number."""
    return _delete(RecentAnswer.objects.filter(key_id=key_id))


def trim_key(key_id: int) -> int:
    """Delete a key's least recently used answers over its limits; return their number."""
    limits = gateway_settings().recent_answers
    return _trim(RecentAnswer.objects.filter(key_id=key_id), limits.bytes_per_key, limits.max_per_key)


def trim_all() -> int:
    """Delete the least recently used answers over the limit of all keys; return their number."""
    return _trim(RecentAnswer.objects.all(), gateway_settings().recent_answers.total_bytes)


def delete_rows(answer_ids: Iterable[int]) -> int:
    """Delete answers with their names, in the caller's transaction; return their number."""
    rows = list(answer_ids)
    RecentAnswerName.objects.filter(answer_id__in=rows).delete()
    return RecentAnswer.objects.filter(pk__in=rows).delete()[0]


def on_key_saved(instance: ApiKey, **_signal: Any) -> None:
    """Signal handler: a revoked key loses its answers."""
    if instance.revoked_at is not None:
        on_key_deleted(instance)


def on_key_deleted(instance: ApiKey, **_signal: Any) -> None:
    """Signal handler: a deleted key loses its answers."""
    transaction.on_commit(partial(delete_of_key, instance.pk), robust=True)


def _trim(answers: "QuerySet[RecentAnswer]", max_bytes: int, max_count: int | None = None) -> int:
    found = answers.aggregate(count=Count("pk"), bytes=Sum("size_bytes", default=0))
    count, size = found["count"], found["bytes"]
    surplus: list[int] = []
    if size <= max_bytes and (max_count is None or count <= max_count):
        return 0
    for pk, size_bytes in answers.order_by("expires_at", "pk").values_list("pk", "size_bytes").iterator(_ROWS):
        if size <= max_bytes and (max_count is None or count <= max_count):
            break
        surplus.append(pk)
        count, size = count - 1, size - size_bytes
    return sum(_delete_free(surplus[at : at + _ROWS]) for at in range(0, len(surplus), _ROWS))


def _delete(answers: "QuerySet[RecentAnswer]") -> int:
    deleted, until = 0, time.monotonic() + _TICK_S
    while time.monotonic() < until:
        rows = list(answers.order_by("pk").values_list("pk", flat=True)[:_ROWS])
        if not rows or not (gone := _delete_free(rows)):
            break
        deleted += gone
    return deleted


def _delete_free(answer_ids: list[int]) -> int:
    """Delete the answers that are not locked; the others are left for the next run."""
    with lock_timeout(WAIT_MS):
        free = RecentAnswer.objects.order_by("pk").select_for_update(skip_locked=True).filter(pk__in=answer_ids)
        return delete_rows(free.values_list("pk", flat=True))
