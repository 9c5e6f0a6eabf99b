"""Keys that were revoked, expired or deleted while their requests still run."""

from collections.abc import Collection

from django.db.models import Q
from django.utils import timezone

from apiproxy.db.guarded_query import QueryGuard
from apiproxy.models import ApiKey

_BATCH = 500
"""Keys per query; databases limit the number of parameters."""


async def ended_keys(key_ids: Collection[int], database: QueryGuard) -> frozenset[int]:
    """Return those that have ended. Raises DatabaseUnavailableError."""
    return await database.run(
        lambda: _ended(sorted(set(key_ids))), what="cannot check the API keys of running requests"
    )


async def _ended(key_ids: list[int]) -> frozenset[int]:
    unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    usable: set[int] = set()
    for at in range(0, len(key_ids), _BATCH):
        rows = ApiKey.objects.filter(unexpired, revoked_at=None, pk__in=key_ids[at : at + _BATCH])
        usable |= {pk async for pk in rows.values_list("pk", flat=True)}
    return frozenset(key_ids) - usable
