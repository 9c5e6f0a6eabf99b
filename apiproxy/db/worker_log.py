"""Log messages of a batch worker."""

import logging
import time

logger = logging.getLogger(__name__)

WARNING_INTERVAL_S = 60.0
"""Minimum time between two warnings about an unavailable database."""


class WorkerLog:
    """Logs under `desk.*`. Override the methods to log under other event names."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._warned_at = -WARNING_INTERVAL_S

    def delayed(self, error: Exception, pending: int) -> None:
        """The database is unavailable; the batch is retried. Called at every attempt."""
        if self.should_warn():
            logger.warning("desk.delayed", extra={"desk": self._name, "pending": pending}, exc_info=error)

    def recovered(self, dropped: int) -> None:
        """The first batch after `delayed` is in the database. `dropped`: jobs lost since the start."""

    def rejected(self, job: object, error: Exception) -> None:
        """A single job failed; it is not retried."""
        logger.error("desk.failed", extra={"desk": self._name, "job": type(job).__name__}, exc_info=error)

    def dropped(self, count: int, total: int, why: str) -> None:
        """Jobs without a caller were lost."""
        logger.error("desk.dropped", extra={"desk": self._name, "count": count, "total": total, "why": why})

    def should_warn(self) -> bool:
        """True if the last warning is WARNING_INTERVAL_S ago; starts the interval anew if so."""
        if time.monotonic() - self._warned_at < WARNING_INTERVAL_S:
            return False
        self._warned_at = time.monotonic()
        return True

    def reset_warnings(self) -> None:
        self._warned_at = -WARNING_INTERVAL_S
