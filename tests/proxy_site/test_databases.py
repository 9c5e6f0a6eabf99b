"""State that the gateway keeps: folder, signing key, database and channel layer settings."""

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from proxy_site.conf import read_site
from proxy_site.databases import (
    kept_secret_key,
    parse_database_url,
    prepare_state_dir,
    sqlite_database,
)
from proxy_site.env import SettingError


def test_create_state_folder_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    prepare_state_dir(folder)
    prepare_state_dir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_name_state_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"CLAUDE_PROXY_STATE_DIR: .*file/state.* cannot be created"):
        prepare_state_dir(tmp_path / "file" / "state")


def test_create_private_signing_key_once(tmp_path: Path) -> None:
    key = kept_secret_key(tmp_path)
    assert len(key) >= 50
    assert kept_secret_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_starts_at_the_same_moment_agree_on_one_signing_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: kept_secret_key(tmp_path), range(32)))) == 1


def test_reject_empty_signing_key(tmp_path: Path) -> None:
    (tmp_path / "secret_key").touch()
    with pytest.raises(SettingError, match="is empty"):
        kept_secret_key(tmp_path)


def test_take_sqlite_write_lock_at_transaction_start(tmp_path: Path) -> None:
    description = sqlite_database(tmp_path / "db.sqlite3")
    assert description["ENGINE"] == "django.db.backends.sqlite3"
    assert description["NAME"] == str(tmp_path / "db.sqlite3")
    assert description["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.parametrize(
    ("url", "path"), [("sqlite:////srv/a%20b.db", Path("/srv/a b.db")), ("sqlite:///a.db", Path.cwd() / "a.db")]
)
def test_take_path_from_sqlite_url(url: str, path: Path) -> None:
    assert parse_database_url(url)["NAME"] == str(path)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_unquote_every_part_of_postgres_url(scheme: str) -> None:
    url = f"{scheme}://us%40er:p%2Fw@db.example:5433/name?sslmode=require"
    assert parse_database_url(url) == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "name",
        "USER": "us@er",
        "PASSWORD": "p/w",
        "HOST": "db.example",
        "PORT": "5433",
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "pool": {"timeout": 3.0, "reconnect_timeout": 5.0},
            "connect_timeout": "5",
            "tcp_user_timeout": "10000",
            "sslmode": "require",
        },
    }


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/n",
        "postgres://u:hunter2@h",
        "postgres://u:hunter2@h:port/n",
        "postgres://u:hunter2@[h/n",
        "sqlite://hunter2",
        "hunter2",
    ],
)
def test_reject_other_database_without_showing_password(url: str) -> None:
    with pytest.raises(SettingError, match="DATABASE_URL: its value is not allowed") as caught:
        read_site({"DATABASE_URL": url})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.django_db
def test_sqlite_writes_ahead_and_waits_for_others() -> None:
    with connection.cursor() as cursor:
        pragmas = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "busy_timeout")}
    assert pragmas == {"journal_mode": "wal", "busy_timeout": 5000}
    assert isinstance(connection.connection, sqlite3.Connection)


@pytest.mark.parametrize(
    ("netloc", "host", "port"),
    [
        ("db1:5432,db2:5433", "db1,db2", "5432,5433"),
        ("db1,db2", "db1,db2", "5432,5432"),
        ("u:p%40w@db1:6432,db2", "db1,db2", "6432,5432"),
        ("[fd00::1]:5433,db2", "fd00::1,db2", "5433,5432"),
        ("[fd00::1]", "fd00::1", ""),
        ("", "", ""),
    ],
)
def test_a_postgres_url_may_name_several_hosts(netloc: str, host: str, port: str) -> None:
    found = parse_database_url(f"postgres://{netloc}/gw?target_session_attrs=read-write")
    assert (found["HOST"], found["PORT"]) == (host, port)
    assert found["OPTIONS"]["target_session_attrs"] == "read-write"


@pytest.mark.parametrize("netloc", ["db1:x,db2", "db1:0,db2", "db1,,db2", "db1,", ":5432,db2"])
def test_refuse_incomplete_lists_of_hosts(netloc: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the setting's error says what is allowed
        parse_database_url(f"postgres://{netloc}/gw")
