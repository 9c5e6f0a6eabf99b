"""Shared by drivers of command-line agents: environment, bounded runs and prompts. Standard library only."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features import WORK, asked

_RUN_S = 150.0
_KILLED_S = 10.0
_REACHED_S = 60.0
MCP_SERVER = ("node", str(Path(__file__).with_name("mcp_server.mjs")))
"""Command of an MCP server named `calc` with the tool `add`."""
RATE_LIMIT = "[[status=429]][[message=not so fast]][[retry_after=1]]"
OVERLOAD = "[[status=529]][[message=too many at once]]"
BROKEN = "[[n=9]][[miderror=3]][[message=broken off]]"
RED_SQUARE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mM4oaFBEmIY1TCqYfhqAAB8MxgQ+iSj5QAAAABJRU5ErkJggg=="
)
"""A PNG of 16 × 16 pixels, base64; some agents refuse or enlarge a smaller one."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run. lines: the JSON objects of the standard output, one a line."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.stdout.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    @property
    def all(self) -> str:
        """Both outputs, the end of each, for a failure's detail."""
        return f"exit code {self.code}; stdout: {self.stdout[-1500:]}; stderr: {self.stderr[-1500:]}"


def fresh(name: str) -> Path:
    """A new folder with `home` and `work`."""
    folder = WORK / f"{name}-{time.monotonic_ns()}"
    for part in ("home", "work"):
        (folder / part).mkdir(parents=True)
    return folder


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Variables of a run whose configuration is in that folder; nothing of the caller's but PATH."""
    home = folder / "home"
    own = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "DO_NOT_TRACK": "1",
        **own,
        **variables,
    }


@contextlib.contextmanager
def started(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, prompt: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, which is killed at the end with all that it started.

    prompt: its standard input.
    """
    process = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL if prompt is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        if process.stdin is not None:
            process.stdin.write(prompt or "")
            process.stdin.close()
            process.stdin = None
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_KILLED_S)


def run_cli(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, prompt: str | None = None, within_s: float = _RUN_S
) -> Finished:
    """The command's outcome. AssertionError with its output if it takes longer."""
    with started(command, env=env, cwd=cwd, prompt=prompt) as process:
        try:
            stdout, stderr = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate(timeout=_KILLED_S)
            raise AssertionError(f"not finished within {within_s} s: {stdout[-1500:]} {stderr[-1500:]}") from None
        return Finished(process.returncode, stdout, stderr)


def call(tool: str, **arguments: Any) -> str:
    """Directive for a call of a tool."""
    return f"[[tool={tool}:{json.dumps(arguments)}]]"


def script(*steps: str) -> str:
    """Prompt that the upstream answers step by step."""
    return " [[then]] ".join(steps)


def wait_for(word: str, *, within_s: float = _REACHED_S) -> None:
    """Wait until a prompt with the word is upstream."""
    deadline = time.monotonic() + within_s
    while not asked(word):
        assert time.monotonic() < deadline, "no request reached the upstream"
        time.sleep(0.1)
