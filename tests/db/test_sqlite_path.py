"""The SQLite file of the settings, as a name or as the URI of a watched file."""

from pathlib import Path

import pytest
from django.db import connections

from apiproxy.db.sqlite_file import sqlite_path

SQLITE = "django.db.backends.sqlite3"


@pytest.mark.parametrize(
    ("engine", "name", "path"),
    [
        (SQLITE, "/srv/state/db.sqlite3", Path("/srv/state/db.sqlite3")),
        (SQLITE, Path("/srv/state/db.sqlite3"), Path("/srv/state/db.sqlite3")),
        (SQLITE, "db.sqlite3", Path.cwd() / "db.sqlite3"),
        (SQLITE, "file:///srv/a%20b%3F/db.sqlite3?mode=rw", Path("/srv/a b?/db.sqlite3")),
        (SQLITE, "file:memorydb_default?mode=memory&cache=shared", None),
        (SQLITE, ":memory:", None),
        ("django.db.backends.postgresql", "gateway", None),
    ],
)
def test_find_the_file_of_the_settings(
    engine: str, name: str | Path, path: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ENGINE", engine)
    monkeypatch.setitem(connections.settings["default"], "NAME", name)
    assert sqlite_path() == path
