"""Questions that a request cannot do without, asked of a database that may be away.

A query can hang: on a lock, or on a server that is gone. It runs in a thread, which nobody can cancel. So these have a
thread of their own: the one that the API's requests share has to be free for what Django does at the beginning and end
of each. And a question has a deadline, after which it is left to itself, and while one of those hangs, or
for a moment after a failure, nothing more is asked: whoever has an old answer uses it, and the others are refused.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import connection

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.db.connections import DATABASE_ERRORS, release_connection

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 2.0
"""How long a request waits for the database."""
RENEWAL_S = 0.3
"""After that long without an answer the pool's connections are replaced: the server may have ended all of them, and the
pool itself tries one after another, with a pause of 1 s after the first, then 2 s, then 4 s."""
PAUSE_S = 1.0
"""How long after a failure the database is not asked again."""

T = TypeVar("T")


_OWN_THREAD = ThreadSensitiveContext()


async def apart(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs the coroutine, to be called in a task of its own, with its queries on this module's thread."""
    SyncToAsync.thread_sensitive_context.set(_OWN_THREAD)
    try:
        return await work()
    finally:
        await sync_to_async(release_connection)()


def _renew_connections() -> None:
    """Replaces what the pool has by new connections, in its own threads; where there is a pool."""
    pool = getattr(connection, "pool", None)
    if pool is not None:
        pool.drain()


class DatabaseAwayError(ProxyError):
    """The database does not answer."""

    def __init__(self, what: str) -> None:
        super().__init__(FailureKind.DATABASE_AWAY, f"The gateway's database does not answer: {what}.", retry_after_s=2)


class Lookup:
    """The way to the database for what is kept in memory as well. Used on one event loop. monotonic measures waits."""

    def __init__(
        self,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        pause_s: float = PAUSE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._asked_again_at = 0.0
        self._hanging: set[asyncio.Task[Any]] = set()
        self.away = False

    async def ask(self, question: Callable[[], Coroutine[Any, Any, T]], *, what: str) -> T:
        """The answer; `what` says in an error what could not be looked up.

        Raises DatabaseAwayError where there is none in time, and at once where there was none a moment ago.
        """
        if self._monotonic() < self._asked_again_at or self._hanging:
            raise DatabaseAwayError(what)
        task = asyncio.ensure_future(apart(question))
        try:
            done, _ = await asyncio.wait((task,), timeout=min(RENEWAL_S, self._timeout_s))
            if not done and not self.away:
                _renew_connections()
            if not done:
                done, _ = await asyncio.wait((task,), timeout=max(0.0, self._timeout_s - RENEWAL_S))
        except asyncio.CancelledError:  # the client has left
            task.add_done_callback(_retrieve)
            raise
        if not done:
            self._hanging.add(task)
            task.add_done_callback(self._over)
            raise self._failed(what) from None
        try:
            answer = task.result()
        except DATABASE_ERRORS as error:
            raise self._failed(what, error) from error
        if self.away:
            self.away = False
            logger.info("database.back")
        return answer

    def forget(self) -> None:
        """The next question is asked, whatever came of the last ones."""
        self._asked_again_at = 0.0
        self._hanging.clear()

    def _failed(self, what: str, error: Exception | None = None) -> DatabaseAwayError:
        self._asked_again_at = self._monotonic() + self._pause_s
        if not self.away:
            self.away = True
            logger.warning("database.away", extra={"error": type(error).__name__ if error else "no answer in time"})
        return DatabaseAwayError(what)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._hanging.discard(task)
        _retrieve(task)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Whoever asked has gone; that is not worth asyncio's warning."""
    if not task.cancelled():
        task.exception()


lookup = Lookup()
"""The one of this process."""
