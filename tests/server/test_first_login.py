"""The file of the first login: made anew, for its owner alone, and never through a link."""

import os
import stat
from pathlib import Path

import pytest

from apiproxy.keys.bootstrap import FirstSecrets
from apiproxy.server import first_login
from apiproxy.server.first_login import FILE_NAME, write_first_login

FIRST = FirstSecrets("admin", "hunter2", "sk-proxy-1")


def test_writes_the_secrets_for_the_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = write_first_login(tmp_path, FIRST)
    finally:
        os.umask(before)

    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == (FILE_NAME, 0o600)
    assert path.read_text().splitlines()[1:] == ["Administrator: admin / hunter2", "API key: sk-proxy-1"]


def test_leaves_out_a_secret_that_was_there_before(tmp_path: Path) -> None:
    assert "API key" not in write_first_login(tmp_path, FirstSecrets("admin", "hunter2")).read_text()
    assert "Administrator" not in write_first_login(tmp_path, FirstSecrets(api_key="sk-proxy-1")).read_text()


def test_takes_another_name_where_a_file_or_link_exists(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("older")
    target = tmp_path / "target"
    (tmp_path / "first-login-2.txt").symlink_to(target)
    path = write_first_login(tmp_path, FIRST)

    assert path.name == "first-login-3.txt"
    assert (tmp_path / FILE_NAME).read_text() == "older"
    assert not target.exists()


def test_removes_a_file_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_first_login(tmp_path, FIRST)
    assert not list(tmp_path.iterdir())


def test_gives_up_where_too_many_files_were_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_login, "_MAX_FILES", 2)
    write_first_login(tmp_path, FIRST)
    write_first_login(tmp_path, FIRST)
    with pytest.raises(FileExistsError, match="delete them"):
        write_first_login(tmp_path, FIRST)
