"""Pythons to try; all files name the same versions."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.pythons import found
from tests.pythons.found import SUPPORTED, newer_pythons, version_of
from tests.pythons.lock import part
from tests.support.processes import ROOT

LOCK = """a==1 \\
    --hash=sha256:1
    # via claude-sdk-proxy (pyproject.toml)
b==2 ; sys_platform == 'win32' \\
    --hash=sha256:2
    # via
    #   a
    #   d
c-d==3 \\
    --hash=sha256:3
    # via b
d==4 \\
    --hash=sha256:4
"""


def test_names_the_same_versions_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (low, high) = SUPPORTED[0], SUPPORTED[-1]
    assert project["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    assert f"{low} <= v <= {high}" in (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in ("Makefile", "README.md", "CONTRIBUTING.md"):
        said = re.sub(r"\s+", " ", (ROOT / document).read_text(encoding="utf-8"))
        assert "Python 3.11, 3.12, 3.13 or 3.14" in said, document
    assert SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[-1]


def test_takes_a_part_of_a_lock_with_all_that_it_needs() -> None:
    assert re.findall(r"^[a-z-]+(?===)", part(LOCK, ["a"]), re.MULTILINE) == ["a", "b", "c-d"]
    assert part(LOCK, ["d"]).startswith("b==2")
    assert part(LOCK, ["none"]) == ""


def test_asks_a_python_for_its_version(tmp_path: Path) -> None:
    assert version_of(sys.executable) == sys.version_info[:2]
    stub = tmp_path / "python3.14"
    assert version_of(str(stub)) is None
    stub.write_text("#!/bin/sh\nexit 127\n")
    stub.chmod(0o755)
    assert version_of(str(stub)) is None


def test_finds_nothing_on_a_machine_without_newer_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert newer_pythons() == []


def test_finds_one_python_for_each_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = sys.version_info[:2]
    monkeypatch.setattr(found, "SUPPORTED", (here, (3, 99)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for name in ("{}.{}.1", "{}.{}.0"):
        folder = tmp_path / "versions" / name.format(*here) / "bin"
        folder.mkdir(parents=True)
        (folder / "python").symlink_to(sys.executable)
    assert newer_pythons(than=(3, 10)) == [str(tmp_path / "versions" / "{}.{}.1".format(*here) / "bin" / "python")]
