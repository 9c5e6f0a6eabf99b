"""Detection of a moved or deleted SQLite file while the gateway runs.

A connection to a moved or deleted file works without errors, but its writes, including the usage of keys, are lost. So
every statement checks the file first and fails as if the database were unavailable.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import OperationalError, connections
from django.db.backends.signals import connection_created

logger = logging.getLogger(__name__)

CHECK_S = 1.0
"""Interval of checks: /readyz and the log report a lost file without a request that needs it."""


class DatabaseFile:
    """Background service that watches the database file, identified by its inode. Thread-safe."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._inode: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self.was_lost = False
        """Last result of `lost`."""

    async def start(self) -> None:
        """Start watching. Call it after the migrations and before the first request."""
        self._path = sqlite_path()
        if self._path is None:
            return
        self._inode = _inode(self._path)
        # Else a connection opened while the file is missing would create an empty one.
        connections.settings["default"]["NAME"] = f"{self._path.as_uri()}?mode=rw"
        connection_created.connect(self._on_connection)
        self._task = asyncio.create_task(self._run(), name="database file watch")

    async def stop(self) -> None:
        """Stop the regular checks; statements still check."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def lost(self) -> bool:
        """True if the file is missing or another one. Takes microseconds; logs changes."""
        if self._path is None:
            return False
        lost = _inode(self._path) != self._inode
        if lost is not self.was_lost:
            self._log_change(lost)
        return lost

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            await asyncio.to_thread(self.lost)

    def _log_change(self, lost: bool) -> None:
        with self._lock:
            if lost is self.was_lost:  # already logged by another thread
                return
            self.was_lost = lost
        if lost:
            advice = "moved or deleted: put the same file back, or restart the gateway"
            logger.error("database.file_lost", extra={"path": str(self._path), "advice": advice})
        else:
            logger.warning("database.file_back", extra={"path": str(self._path)})

    def _on_connection(self, *, connection: Any, **_: Any) -> None:
        if self._execute not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, self._execute)

    def _execute(
        self, execute: Callable[..., Any], query: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Django's `execute_wrapper`."""
        if self.lost():
            raise OperationalError("the database file was moved or deleted")
        return execute(query, params, many, context)


def sqlite_path() -> Path | None:
    """The SQLite file of the settings; None for another database, and for one in memory."""
    config = connections.settings["default"]
    name = str(config["NAME"])
    if not config["ENGINE"].endswith("sqlite3") or name == ":memory:":
        return None
    if not name.startswith("file:"):
        return Path(name).absolute()
    path = Path(unquote(urlsplit(name).path))  # a URI: of a watched file, or of a database in memory
    return path if path.is_absolute() else None


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
