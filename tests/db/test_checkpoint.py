"""Checkpoints: the database file alone has the data; writers and readers do not wait."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from apiproxy.db import checkpoint as checkpoints
from apiproxy.db.checkpoint import Checkpoints, checkpoint
from tests.support.waiting import eventually_async


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A database in WAL mode with an open connection, as in the gateway."""
    path = tmp_path / "a b?#.sqlite3"
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        yield path


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0.01)


def write(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")


def copied(path: Path) -> int:
    """Number of rows in a copy of the file; 0 if it has no table."""
    copy = shutil.copy(path, path.with_name("copy"))
    with closing(sqlite3.connect(copy)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def ahead(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


@pytest.mark.parametrize("truncate", [False, True])
def test_moves_what_was_written_to_the_file(database: Path, truncate: bool) -> None:
    write(database)
    assert copied(database) == 0

    assert checkpoint(database, truncate=truncate)
    assert copied(database) == 1
    assert (ahead(database) == 0) is truncate


def test_leaves_to_a_reader_what_it_reads(database: Path) -> None:
    write(database)
    with closing(connect(database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t").fetchall()
        write(database)
        assert not checkpoint(database, truncate=False)
        assert not checkpoint(database, truncate=True)
        write(database)
    assert checkpoint(database, truncate=True)
    assert copied(database) == 3


def test_does_not_wait_for_a_writer(database: Path) -> None:
    write(database)
    with closing(connect(database)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES (2)")
        assert checkpoint(database, truncate=False)
        assert not checkpoint(database, truncate=True)
        writer.execute("COMMIT")
    assert copied(database) == 1


def test_makes_no_database_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        checkpoint(tmp_path / "none", truncate=True)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Checkpoints]:
    """Create a service that checks a file often."""

    def watch(path: Path) -> Checkpoints:
        monkeypatch.setattr(checkpoints, "CHECK_S", 0.01)
        monkeypatch.setattr(checkpoints, "sqlite_path", lambda: path)
        return Checkpoints()

    return watch


async def test_empties_the_writes_when_idle(database: Path, watched: Callable[[Path], Checkpoints]) -> None:
    background_service = watched(database)
    await background_service.start()
    write(database)
    await eventually_async(lambda: ahead(database) == 0, within_s=10)
    assert copied(database) == 1
    write(database)
    await background_service.stop()
    assert copied(database) == 2


async def test_goes_on_after_a_checkpoint_that_failed(
    tmp_path: Path, watched: Callable[[Path], Checkpoints], caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"no database" * 1000)

    def failed_again() -> bool:
        Path(f"{broken}-wal").write_bytes(b"x")  # SQLite deletes one that belongs to no database
        return caplog.text.count("database.checkpoint_failed") >= 3

    background_service = watched(broken)
    with caplog.at_level("INFO"):
        await background_service.start()
        await eventually_async(failed_again, within_s=10)
        await background_service.stop()


async def test_does_nothing_for_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sqlite_path", lambda: None)
    background_service = Checkpoints()
    await background_service.start()
    await background_service.stop()
    assert background_service._task is None
