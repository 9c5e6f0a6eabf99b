"""Virtual environments and node_modules of the clients, in a cache folder outside the tree.

`CLIENTS_CACHE` names the folder; `.venv/clients` by default. What is installed is exactly `requirements/*.txt`, and
`package-lock.json`; a change of the file installs it anew.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.clients.client import Client
from tests.support.processes import ROOT

FOLDER = Path(__file__).parent
PROGRAMS = FOLDER / "programs"
REQUIREMENTS = FOLDER / "requirements"
CACHE = Path(os.environ.get("CLIENTS_CACHE") or ROOT / ".venv" / "clients")
NODE_MAJOR = 24
"""Older ones make npm choose older majors of several packages."""

_INSTALL_S = 1_200.0
_PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile")


class InstallError(Exception):
    """An installation that failed, with the end of its output."""


def command(client: Client) -> tuple[Sequence[str], Mapping[str, str]]:
    """Command and variables that run the client's program. Installs missing parts; raises InstallError."""
    if client.requirements is not None:
        return [str(interpreter(client.requirements)), str(PROGRAMS / client.program)], {}
    modules = _node_modules(agents=client.program.endswith(".py"))
    path = os.pathsep.join([str(modules / "node_modules" / ".bin"), str(_node().parent), os.environ.get("PATH", "")])
    if client.program.endswith(".py"):
        return [sys.executable, str(PROGRAMS / client.program)], {"PATH": path}
    # Node looks for packages beside the importing file and above it, nowhere else.
    for program in PROGRAMS.glob("*.mjs"):
        shutil.copy2(program, modules / program.name)
    return [str(_node()), str(modules / client.program)], {"PATH": path}


def lock(stem: str, packages: Sequence[str]) -> None:
    """Installs these pins and writes all that they bring, as pip chooses it today, to `requirements/<stem>.txt`."""
    folder, requirements = CACHE / stem, REQUIREMENTS / f"{stem}.txt"
    with _exclusively():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        python = str(folder / "bin" / "python")
        _run([python, *_PIP, *packages])
        frozen = _run([python, "-m", "pip", "--disable-pip-version-check", "freeze"])
        lines = [line for line in frozen.splitlines() if re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)]
        requirements.write_text("\n".join(sorted(lines, key=str.lower)) + "\n", encoding="utf-8")
        _note(folder, requirements)


def interpreter(stem: str) -> Path:
    """The Python with the packages of `requirements/<stem>.txt`. Installs them first; raises InstallError."""
    requirements = REQUIREMENTS / f"{stem}.txt"
    folder = CACHE / stem
    with _exclusively():
        if not _is_current(folder, requirements):
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(folder)])
            _run([str(folder / "bin" / "python"), *_PIP, "--no-deps", "-r", str(requirements)])
            _note(folder, requirements)
    return folder / "bin" / "python"


def _node_modules(*, agents: bool) -> Path:
    """The folder with the `node_modules` of package-lock.json.

    agents: with the optional dependencies: coding agents of some 100 MB each, which the libraries' programs do without.
    """
    folder, locked = CACHE / ("npm-agents" if agents else "npm-libraries"), FOLDER / "package-lock.json"
    node = _node()
    with _exclusively():
        if not _is_current(folder, locked):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for file in (FOLDER / "package.json", locked):
                shutil.copy2(file, folder / file.name)
            _npm(folder, "install", *([] if agents else ["--omit=optional"]), node=node)
            _note(folder, locked)
    return folder


def _node() -> Path:
    """Node of at least that major: the system's, or the one in npm's package `node`."""
    system = shutil.which("node")
    if system is not None and _major(system) >= NODE_MAJOR:
        return Path(system)
    folder = CACHE / f"node{NODE_MAJOR}"
    node = folder / "node_modules" / "node" / "bin" / "node"
    with _exclusively():
        if not node.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _npm(folder, "install", f"node@{NODE_MAJOR}")
    return node


def _major(node: str) -> int:
    found = re.match(r"v(\d+)", subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout)
    return int(found[1]) if found else 0


def _npm(folder: Path, *arguments: str, node: Path | None = None) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is missing")
    path = os.pathsep.join([*([str(node.parent)] if node else []), os.environ.get("PATH", "")])
    _run([npm, *arguments, "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, env={"PATH": path})


def _is_current(folder: Path, file: Path) -> bool:
    note = folder / ".installed"
    return note.exists() and note.read_text(encoding="utf-8") == _digest(file)


def _note(folder: Path, file: Path) -> None:
    (folder / ".installed").write_text(_digest(file), encoding="utf-8")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def _exclusively() -> Iterator[None]:
    """One installation at a time, of all processes that share the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Its standard output. Raises InstallError."""
    try:
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=_INSTALL_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{command[0]} took more than {_INSTALL_S:.0f} s") from error
    if done.returncode != 0:
        raise InstallError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout
