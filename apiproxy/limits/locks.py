"""Locks of others on the rows of a key (PostgreSQL): how long the ledger waits for one, and which keys it avoids.

Other gateways hold a key's lock for milliseconds; a forgotten `SELECT … FOR UPDATE` in psql holds it for hours.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from django.db import OperationalError, connection, transaction

WAIT_MS = 200
"""How long a batch waits for a lock; above what another gateway's transaction takes."""
WAIT_APART_MS = 100
"""The same for the jobs of one key, once it is known that some key is locked."""
PROBE_MS = 10
"""The same for a key that was locked before: meanwhile all others wait."""
_PAUSES_S = (0.1, 0.25, 0.5)
"""After how long a locked key is tried again: the last is for all further tries."""
_LOCK_NOT_AVAILABLE = "55P03"

_K = TypeVar("_K")


@contextmanager
def lock_timeout(wait_ms: int) -> Iterator[None]:
    """A transaction that waits so long for each lock; see `is_lock_timeout`. SQLite has locks of its own."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{wait_ms}ms"])
        yield


def is_lock_timeout(error: OperationalError) -> bool:
    """Whether it was a lock that could not be had in time."""
    return getattr(error.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE


class LockedKeys(Generic[_K]):
    """The keys (or names of other rows) that another session has locked, and when each may be tried again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: dict[_K, int] = {}
        self._retry_at: dict[_K, float] = {}

    def __contains__(self, key_id: _K) -> bool:
        return key_id in self._tries

    def is_due(self, key_id: _K) -> bool:
        """Whether a locked key may be tried now."""
        return self._retry_at.get(key_id, 0.0) <= self._clock()

    def locked(self, key_id: _K) -> None:
        """It could not be had."""
        tries = self._tries.get(key_id, 0)
        self._tries[key_id] = tries + 1
        self._retry_at[key_id] = self._clock() + _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]

    def free(self, key_id: _K) -> bool:
        """It could be had; whether it was locked before."""
        self._retry_at.pop(key_id, None)
        return self._tries.pop(key_id, None) is not None
