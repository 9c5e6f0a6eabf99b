"""Shared rules for database connections of background threads."""

from contextlib import suppress

from django.db import DatabaseError, InterfaceError, OperationalError, connections

DATABASE_ERRORS = (OperationalError, InterfaceError)
"""Errors that a retry may fix: database locked, full or unavailable."""


def release_connection() -> None:
    """Return this thread's connection to the pool.

    SQLite connections stay open: opening one costs more than a write.
    """
    connection = connections["default"]
    if connection.vendor != "sqlite":
        with suppress(DatabaseError):
            connection.close()
