"""SQLite WAL checkpoints, so that a plain copy of the file has the data.

In WAL mode SQLite keeps up to 4 MB of writes in `db.sqlite3-wal`. With little traffic `db.sqlite3` stayed empty, and so
did its backups.
"""

import asyncio
import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from apiproxy.db.sqlite_file import sqlite_path

logger = logging.getLogger(__name__)

CHECK_S = 5.0
"""Interval between checks."""
_BUSY_S = 0.1
"""Maximum wait of a checkpoint for readers; writers wait with it."""
_STOP_S = 5.0

_Mark = tuple[int, int]


def checkpoint(database: Path, *, truncate: bool) -> bool:
    """Move the WAL to the database file; True if all of it was moved. Blocks.

    Pages that readers need stay in the WAL. truncate: also empty the WAL, for which writers wait up to _BUSY_S. Raises
    sqlite3.Error; does not create a missing database.
    """
    mode = "TRUNCATE" if truncate else "PASSIVE"
    address = f"{database.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)) as connection:
        busy, written, moved = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return bool(not busy and written == moved)


def checkpoint_now() -> None:
    """Empty the WAL, if the database is SQLite. Failures are logged."""
    database = sqlite_path()
    if database is not None:
        _try(database, truncate=True)


class Checkpoints:
    """Background service that checkpoints every CHECK_S, in a thread.

    The WAL is truncated only if nothing was written since the last check, so that writers do not wait.
    """

    def __init__(self) -> None:
        self._database: Path | None = None
        self._task: asyncio.Task[None] | None = None
        self._seen: _Mark | None = None

    async def start(self) -> None:
        self._database = sqlite_path()
        if self._database is not None:
            self._task = asyncio.create_task(self._run(self._database), name="checkpoints")

    async def stop(self) -> None:
        """Stop, after a last checkpoint. Call it after all other services have written their data."""
        if self._task is None or self._database is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await asyncio.to_thread(_try, self._database, truncate=True)

    async def _run(self, database: Path) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            await asyncio.to_thread(self._check, database)

    def _check(self, database: Path) -> None:
        mark = _mark(database)
        if mark is not None:
            _try(database, truncate=mark == self._seen)
        self._seen = mark


def _try(database: Path, *, truncate: bool) -> None:
    try:
        checkpoint(database, truncate=truncate)
    except sqlite3.Error as error:  # locked, full or unavailable: nothing is lost; retried later
        logger.info("database.checkpoint_failed", extra={"error": str(error)})


def _mark(database: Path) -> _Mark | None:
    """Size and modification time of the WAL; None if it is empty or missing."""
    try:
        found = os.stat(f"{database}-wal")  # noqa: PTH116 - a suffix is added, not a path component
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if found.st_size else None
