"""Detection of a moved or deleted SQLite file while the gateway runs.

A connection to a moved or deleted file works without errors, but its writes, including the usage of keys, are lost. So
every statement checks the file first and fails as if the database were unavailable.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import OperationalError, connections
from django.db.backends.signals import connection_created

logger = logging.getLogger(__name__)


class DatabaseFile:
    """The database file, identified by its inode. Thread-safe."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._inode: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self.was_lost = False
        """Last result of `lost`."""

    @property
    def path(self) -> Path | None:
        """The watched file; None before `watch` and for other databases."""
        return self._path

    def watch(self) -> None:
        """Start watching. Call it after the migrations and before the first request."""
        config = connections.settings["default"]
        if not config["ENGINE"].endswith("sqlite3"):
            return
        if self._path is None:
            self._path = Path(config["NAME"])
        self._inode = _inode(self._path)
        # Else a connection opened while the file is missing would create an empty one.
        config["NAME"] = f"{self._path.absolute().as_uri()}?mode=rw"
        connection_created.connect(_on_connection, dispatch_uid="database_file")

    def lost(self) -> bool:
        """True if the file is missing or another one. Takes microseconds; logs changes."""
        if self._path is None:
            return False
        lost = _inode(self._path) != self._inode
        if lost is not self.was_lost:
            self._log_change(lost)
        return lost

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


database_file = DatabaseFile()
"""The database file of this process."""


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _execute(execute: Callable[..., Any], query: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Django's `execute_wrapper`."""
    if database_file.lost():
        raise OperationalError("the database file was moved or deleted")
    return execute(query, params, many, context)


def _on_connection(*, connection: Any, **_: Any) -> None:
    if _execute not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _execute)
