"""Background task that ends this process's runs of revoked, deleted or expired keys."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.db.guarded_query import DatabaseUnavailableError, QueryGuard
from apiproxy.keys.revocation import ended_keys
from apiproxy.runs.run import Run

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0


class KeyWatch:
    """Periodic check of the keys of queued and active runs.

    Bound to one event loop. runs: returns these runs.
    """

    def __init__(
        self, runs: Callable[[], Sequence[Run]], database: QueryGuard, *, every_s: float = CHECK_EVERY_S
    ) -> None:
        self._runs = runs
        self._database = database
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Start checking, unless it is running."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="key watch")

    def rest(self) -> None:
        """Stop checking, as there are no runs."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._check()
            except DatabaseUnavailableError:  # keys keep working meanwhile, and so do their runs
                continue
            except Exception:  # the next check may succeed; else no run would be ended any more
                logger.exception("keywatch.failed")

    async def _check(self) -> None:
        runs = [(run, key_id) for run in self._runs() if (key_id := run.turn.caller.key_id) is not None]
        if not runs:
            return
        ended = await ended_keys({key_id for _, key_id in runs}, self._database)
        for run, key_id in runs:
            if key_id in ended:
                logger.info("run.key_ended", extra={"reqId": run.turn.id, "keyId": key_id})
                run.stop(ProxyError(FailureKind.KEY_ENDED, "The API key of this request was revoked or has expired."))
