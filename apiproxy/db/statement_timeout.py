"""Timeout of database statements in requests.

A locked table or a hanging server is an error after 3 s. A watchdog thread cancels slow statements. PostgreSQL's
`statement_timeout` is a session setting, which a connection pooler would pass on to other clients, and SQLite has none.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper

logger = logging.getLogger(__name__)

STATEMENT_TIMEOUT_S = 3.0
_CANCEL_S = 0.5
"""Time for the server to accept a cancellation; after that the connection is shut down."""

_limited: ContextVar[bool] = ContextVar("statements are limited", default=False)


def limit_statements() -> None:
    """Limit statements in this context, including tasks and threads it starts."""
    _limited.set(True)


class _Running:
    """A running statement, locked against reuse of its connection when cancelled."""

    __slots__ = ("_connection", "_lock", "_over", "deadline")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._over = False
        self.deadline = time.monotonic() + STATEMENT_TIMEOUT_S

    def finish(self) -> None:
        with self._lock:
            self._over = True

    def cancel(self) -> None:
        with self._lock:
            if self._over:
                return
            raw = self._connection.connection
            if self._connection.vendor == "sqlite":
                raw.interrupt()
                return
            try:
                raw.cancel_safe(timeout=_CANCEL_S)
            except self._connection.Database.Error:  # the server is unreachable
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(raw.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)


class _Watchdog:
    """Watchdog thread. All timeouts are equal, so the oldest statement expires first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: deque[_Running] = deque()
        self._thread: threading.Thread | None = None

    def begin(self, connection: Any) -> _Running:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="statement-limit", daemon=True)
                self._thread.start()
            one = _Running(connection)
            self._running.append(one)
            if len(self._running) == 1:
                self._changed.notify()
        return one

    def end(self, one: _Running) -> None:
        one.finish()
        with self._changed, contextlib.suppress(ValueError):  # already cancelled
            self._running.remove(one)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._running)
                oldest = self._running[0]
                left_s = oldest.deadline - time.monotonic()
                if left_s > 0:
                    self._changed.wait(left_s)
                    continue
                self._running.popleft()
            try:
                oldest.cancel()
            except Exception:  # e.g. connection lost: the watchdog must go on
                logger.exception("database.cut_failed")


_watchdog = _Watchdog()


def _execute(execute: Callable[..., Any], query: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Django's `execute_wrapper`."""
    if not _limited.get():
        return execute(query, params, many, context)
    one = _watchdog.begin(context["connection"])
    try:
        return execute(query, params, many, context)
    finally:
        _watchdog.end(one)


def _on_connection(*, connection: Any, **_: Any) -> None:
    if _execute not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute)
    if connection.vendor == "sqlite" and _limited.get():  # SQLite cannot interrupt a wait for a lock
        cursor: CursorWrapper
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {STATEMENT_TIMEOUT_S * 1000:.0f}")


def install() -> None:
    """Watch every connection opened from now on. Idempotent."""
    connection_created.connect(_on_connection, dispatch_uid="statement_limit")
