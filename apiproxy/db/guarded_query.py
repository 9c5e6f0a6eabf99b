"""Database queries on the request path, with a deadline and fail-fast.

A query that hangs (on a lock, or a dead server) keeps its thread, which cannot be cancelled. These queries therefore
have a thread of their own: Django needs the one shared by requests at the start and end of each. While a query hangs,
or shortly after a failure, further ones fail at once; callers fall back to a cached value or reject the request.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import connection

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.futures import retrieve
from apiproxy.db.connections import DATABASE_ERRORS, release_connection

logger = logging.getLogger(__name__)

QUERY_TIMEOUT_S = 2.0
RECONNECT_AFTER_S = 0.3
"""Time without a result after which the pool's connections are replaced. The server may have closed all of them, and
the pool itself tries one after another, pausing 1 s after the first, then 2 s, then 4 s."""
PAUSE_S = 1.0
"""Time after a failure during which queries fail at once."""

T = TypeVar("T")

_OWN_THREAD = ThreadSensitiveContext()


async def run_in_own_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine's queries on this module's thread; call it in its own task."""
    SyncToAsync.thread_sensitive_context.set(_OWN_THREAD)
    try:
        return await work()
    finally:
        await sync_to_async(release_connection)()


def _reconnect_pool() -> None:
    """Replace the connections of the pool, if there is one, in the pool's threads."""
    pool = getattr(connection, "pool", None)
    if pool is not None:
        pool.drain()


class DatabaseUnavailableError(ProxyError):
    """The database is unavailable or timed out. `what` could not be done."""

    def __init__(self, what: str) -> None:
        super().__init__(FailureKind.DATABASE_UNAVAILABLE, f"Database unavailable: {what}.", retry_after_s=2)


class QueryGuard:
    """Circuit breaker for database queries. Used on one event loop."""

    def __init__(
        self,
        *,
        timeout_s: float = QUERY_TIMEOUT_S,
        pause_s: float = PAUSE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._open_until = 0.0
        self._hanging: set[asyncio.Task[Any]] = set()
        self.unavailable = False

    async def run(self, query: Callable[[], Coroutine[Any, Any, T]], *, what: str) -> T:
        """Run the query and return its result.

        what: completes the error message, as in "cannot look up the API key".
        Raises DatabaseUnavailableError on an error or timeout, and at once for `pause_s` after one.
        """
        if self._monotonic() < self._open_until or self._hanging:
            raise DatabaseUnavailableError(what)
        task = asyncio.ensure_future(run_in_own_thread(query))
        try:
            done, _ = await asyncio.wait((task,), timeout=min(RECONNECT_AFTER_S, self._timeout_s))
            if not done and not self.unavailable:
                _reconnect_pool()
            if not done:
                done, _ = await asyncio.wait((task,), timeout=max(0.0, self._timeout_s - RECONNECT_AFTER_S))
        except asyncio.CancelledError:  # the client has disconnected
            task.add_done_callback(retrieve)
            raise
        if not done:
            self._hanging.add(task)
            task.add_done_callback(self._on_late_result)
            raise self._failed(what) from None
        try:
            result = task.result()
        except DATABASE_ERRORS as error:
            raise self._failed(what, error) from error
        if self.unavailable:
            self.unavailable = False
            logger.info("database.back")
        return result

    def _failed(self, what: str, error: Exception | None = None) -> DatabaseUnavailableError:
        self._open_until = self._monotonic() + self._pause_s
        if not self.unavailable:
            self.unavailable = True
            logger.warning("database.away", extra={"error": type(error).__name__ if error else "timed out"})
        return DatabaseUnavailableError(what)

    def _on_late_result(self, task: asyncio.Task[Any]) -> None:
        self._hanging.discard(task)
        retrieve(task)
