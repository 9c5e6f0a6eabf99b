"""Tries the gateway on each Python, one after another; exit code 1 where it does not work on one of them."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.pythons.found import newer_pythons, version_of
from tests.pythons.lock import part

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ("anthropic", "openai")
INSTALL_S, START_S, ASK_S, STOP_S = 600.0, 120.0, 180.0, 60.0

_SIGNS_OF_TROUBLE = ("Traceback", "Exception ignored", "Warning: ", '"level":"error"', '"level":"critical"')
_FOREIGN = ("ANTHROPIC_", "CLAUDE", "DATABASE_URL", "REDIS_URL", "DJANGO_", "PYTHON", "OPENAI_", "OTEL_")


class TroubleError(Exception):
    """A failed attempt, with the output that shows why."""


def attempt(python: str) -> None:
    """Tries one Python, from an empty virtual environment to the exit code. Raises TroubleError."""
    with tempfile.TemporaryDirectory(prefix="gateway-python-") as folder:
        own = install(python, Path(folder))
        with serving(own, Path(folder)) as (address, state):
            login = (state / "first-login.txt").read_text(encoding="utf-8")
            found = re.search(r"^Administrator: (\S+) / (\S+)\nAPI key: (\S+)$", login, re.MULTILINE)
            if found is None:
                raise TroubleError(f"No first login:\n{login}")
            run([own, "tests/pythons/client.py", address, found[3], found[1], found[2]], within_s=ASK_S)


def install(python: str, folder: Path) -> str:
    """The Python of a new virtual environment, with what the gateway needs, and the clients."""
    run([python, "-m", "venv", str(folder / "venv")], within_s=INSTALL_S)
    own = str(folder / "venv" / "bin" / "python")
    clients = folder / "clients.lock"
    clients.write_text(part((ROOT / "requirements-dev.lock").read_text(encoding="utf-8"), CLIENTS), encoding="utf-8")
    command = [own, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile", "--no-deps"]
    run([*command, "--require-hashes", "-r", "requirements.lock", "-r", str(clients)], within_s=INSTALL_S)
    return own


@contextlib.contextmanager
def serving(python: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The address of a demo gateway, and its state folder. It has to end with 0, without a complaint in its output."""
    state, log = folder / "state", folder / "gateway.log"
    own = {"CLAUDE_PROXY_PORT": "0", "CLAUDE_PROXY_STATE_DIR": str(state), "CLAUDE_PROXY_WARM_WORKERS": "1"}
    with log.open("wb") as output:
        command = [python, "-W", "default", "manage.py", "serve"]
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment() | own)
    try:
        yield wait_for_address(process, log), state
        process.terminate()
        code = process.wait(STOP_S)
    except subprocess.TimeoutExpired as error:
        raise TroubleError(f"SIGTERM did not end it:\n{tail(log)}") from error
    except TroubleError as error:
        raise TroubleError(f"{error}\n{tail(log)}") from error
    finally:
        process.kill()
        process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    if code != 0 or any(sign in said for sign in _SIGNS_OF_TROUBLE):
        raise TroubleError(f"It ended with {code}:\n{said}")


def wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address in the line that names it."""
    deadline = time.monotonic() + START_S
    while (found := re.search(r"^listening on (\S+)$", log.read_text("utf-8", "replace"), re.MULTILINE)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise TroubleError(f"It did not start ({process.poll()}).")
        time.sleep(0.05)
    return found[1]


def run(command: Sequence[str], *, within_s: float) -> None:
    """Raises TroubleError with the output of a command that fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=within_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TroubleError(f"{' '.join(command[:4])} took more than {within_s:.0f} s.") from error
    if done.returncode != 0:
        raise TroubleError(f"{' '.join(command[:4])} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def environment() -> dict[str, str]:
    """The shell's, without what would steer the gateway or the Python."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}


def tail(log: Path) -> str:
    """The end of what it wrote."""
    return log.read_text(encoding="utf-8", errors="replace")[-8000:]


def main(pythons: Sequence[str]) -> int:
    """The exit code."""
    failed = False
    for python in pythons or newer_pythons():
        began = time.monotonic()
        shown = "Python {}.{}".format(*(version_of(python) or ("?", "?")))
        try:
            attempt(python)
        except TroubleError as error:
            failed = True
            print(f"{shown} ({python}): the gateway does not work.\n{error}", flush=True)
        else:
            print(f"{shown}: serve, both clients, dashboard, stop: {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
