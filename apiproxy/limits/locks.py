"""Row lock timeouts (PostgreSQL), and back-off for rows locked by another session.

Other gateways hold a row lock for milliseconds; a forgotten `SELECT … FOR UPDATE` in psql holds it for hours.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from django.db import OperationalError, connection, transaction

WAIT_MS = 200
"""Lock timeout of a batch; longer than another gateway's transaction."""
WAIT_SINGLE_MS = 100
"""Lock timeout of a single key's jobs, after a batch has timed out."""
PROBE_MS = 10
"""Lock timeout for a key that was locked before. Short, because all others wait meanwhile."""
_PAUSES_S = (0.1, 0.25, 0.5)
"""Pauses between attempts for a locked key; the last one repeats."""
_LOCK_NOT_AVAILABLE = "55P03"

_K = TypeVar("_K")


@contextmanager
def lock_timeout(wait_ms: int) -> Iterator[None]:
    """Transaction with a lock timeout; see `is_lock_timeout`. No effect on SQLite."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{wait_ms}ms"])
        yield


def is_lock_timeout(error: OperationalError) -> bool:
    """True if the error is an expired lock timeout."""
    return getattr(error.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE


class LockedKeys(Generic[_K]):
    """Keys of rows locked by another session, with their next attempts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: dict[_K, int] = {}
        self._retry_at: dict[_K, float] = {}

    def __contains__(self, key_id: _K) -> bool:
        return key_id in self._tries

    def is_due(self, key_id: _K) -> bool:
        return self._retry_at.get(key_id, 0.0) <= self._clock()

    def mark_locked(self, key_id: _K) -> None:
        tries = self._tries.get(key_id, 0)
        self._tries[key_id] = tries + 1
        self._retry_at[key_id] = self._clock() + _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]

    def mark_free(self, key_id: _K) -> bool:
        """Forget the key; True if it was locked."""
        self._retry_at.pop(key_id, None)
        return self._tries.pop(key_id, None) is not None
