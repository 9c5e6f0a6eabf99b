"""SQLite's file while the gateway runs: whether the one that was opened is still the one at its path.

A connection to a file that was moved or deleted goes on as if nothing had happened, and whatever is written, a key's
costs among it, is never seen again. So every statement looks first, and fails as if the database were away.
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
    """Knows the file by its inode. `lost` may be asked from any thread."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._inode: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self.was_lost = False
        """What `lost` said last."""

    @property
    def path(self) -> Path | None:
        """The watched file; None if there is none, or not yet."""
        return self._path

    def watch(self) -> None:
        """From now on; to be called once the database is migrated, and before the first request."""
        config = connections.settings["default"]
        if not config["ENGINE"].endswith("sqlite3"):
            return
        if self._path is None:
            self._path = Path(config["NAME"])
        self._inode = _inode(self._path)
        # Or a connection that is opened while the file is away would make a new one, empty.
        config["NAME"] = f"{self._path.absolute().as_uri()}?mode=rw"
        connection_created.connect(_on_connection, dispatch_uid="database_file")

    def lost(self) -> bool:
        """Whether another file is at the path now, or none. Takes microseconds; tells the log when that changes."""
        if self._path is None:
            return False
        lost = _inode(self._path) != self._inode
        if lost is not self.was_lost:
            self._tell(lost)
        return lost

    def _tell(self, lost: bool) -> None:
        with self._lock:
            if lost is self.was_lost:  # another thread has told
                return
            self.was_lost = lost
        if lost:
            advice = "moved or deleted: put the same file back, or restart the gateway"
            logger.error("database.file_lost", extra={"path": str(self._path), "advice": advice})
        else:
            logger.warning("database.file_back", extra={"path": str(self._path)})


database_file = DatabaseFile()
"""The one of this process."""


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _execute(execute: Callable[..., Any], query: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Django's `execute_wrapper`."""
    if database_file.lost():
        raise OperationalError("the database's file was moved or deleted")
    return execute(query, params, many, context)


def _on_connection(*, connection: Any, **_: Any) -> None:
    if _execute not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _execute)
