"""Checkpoints of an SQLite database, so that a plain copy of its file holds the data.

In WAL mode SQLite keeps the last 4 MB of what was written in a file of its own (`db.sqlite3-wal`) and moves them to the
database only when more comes. A gateway without much traffic had an empty `db.sqlite3`, and so had its backups.
"""

import asyncio
import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from django.db import connections

from apiproxy.db.sqlite_file import database_file

logger = logging.getLogger(__name__)

CHECK_S = 5.0
"""How far behind the file of a gateway at work may be."""
_BUSY_S = 0.1
"""How long a checkpoint waits for readers, and holds up writers with that."""
_STOP_S = 5.0

_Mark = tuple[int, int]


def checkpoint(database: Path, *, truncate: bool) -> bool:
    """Moves what was written ahead to the database's file, as far as no reader still needs it; whether that was all.

    truncate: also empties the file of the writes, for which writers wait a short while; otherwise none waits. Blocking.
    Raises sqlite3.Error, and never makes a database where there is none.
    """
    mode = "TRUNCATE" if truncate else "PASSIVE"
    address = f"{database.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)) as connection:
        busy, written, moved = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return bool(not busy and written == moved)


def checkpoint_now() -> None:
    """Empties the file of the writes, where the database is one of SQLite. Failures are logged: it is tried again."""
    database = _sqlite_file()
    if database is not None:
        _try(database, truncate=True)


class Checkpoints:
    """A `BackgroundService`: looks every few seconds, in a thread, whether there is anything to be moved.

    Where nothing was written since the last look, the file of the writes is emptied; otherwise no writer is held up.
    """

    def __init__(self) -> None:
        self._database: Path | None = None
        self._task: asyncio.Task[None] | None = None
        self._seen: _Mark | None = None

    async def start(self) -> None:
        """Looks from now on."""
        self._database = _sqlite_file()
        if self._database is not None:
            self._task = asyncio.create_task(self._run(self._database), name="checkpoints")

    async def stop(self) -> None:
        """The last one, when all else is written."""
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
            await asyncio.to_thread(self._look, database)

    def _look(self, database: Path) -> None:
        mark = _mark(database)
        if mark is not None:
            _try(database, truncate=mark == self._seen)
        self._seen = mark


def _try(database: Path, *, truncate: bool) -> None:
    try:
        checkpoint(database, truncate=truncate)
    except sqlite3.Error as error:  # locked, full, or gone: nothing is lost, and it is tried again
        logger.info("database.checkpoint_failed", extra={"error": str(error)})


def _mark(database: Path) -> _Mark | None:
    """Size and time of the file of the writes; None where there are none."""
    try:
        found = os.stat(f"{database}-wal")  # noqa: PTH116 - a name is added to, not a path
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if found.st_size else None


def _sqlite_file() -> Path | None:
    connection = connections["default"]
    if connection.vendor != "sqlite":
        return None
    # A watched file's name in the settings is a URI.
    path = database_file.path or Path(str(connection.settings_dict["NAME"]))
    return path if path.is_absolute() else None  # a test's, in memory, is none
