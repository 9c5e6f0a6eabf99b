"""The Pythons of this machine, by minor version."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12), (3, 13), (3, 14))
"""As pyproject.toml and the Makefile have it."""

_ASK = "import sys, ensurepip, sqlite3, ssl, venv; print(*sys.version_info[:2])"
_ASK_WITHIN_S = 30


def newer_pythons(than: tuple[int, int] = sys.version_info[:2]) -> list[str]:
    """One executable for each supported minor version above that; empty where the machine has none."""
    wanted = [version for version in SUPPORTED if version > than]
    return [found for version in wanted if (found := _first(version)) is not None]


def version_of(python: str) -> tuple[int, int] | None:
    """Its version; None where it cannot be run, or lacks what a virtual environment takes (pyenv's stubs, Debian's)."""
    try:
        done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, timeout=_ASK_WITHIN_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor = map(int, done.stdout.split())
    return major, minor


def _first(version: tuple[int, int]) -> str | None:
    return next((python for python in _candidates(version) if version_of(python) == version), None)


def _candidates(version: tuple[int, int]) -> Iterator[str]:
    name = "python{}.{}".format(*version)
    if on_path := shutil.which(name):
        yield on_path
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    yield from map(str, sorted(versions.glob("{}.{}*/bin/python".format(*version)), reverse=True))
