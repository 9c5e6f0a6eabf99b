"""Processes that tests start: always stopped by their id, and never left behind when the test run is killed."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "COVERAGE_PROCESS_START")


def clean_environment(**variables: str) -> dict[str, str]:
    """The shell's variables that a child needs, and these; none that could change the gateway's behaviour."""
    return {**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **variables}


def tied_to_this_process() -> tuple[str, ...]:
    """Command prefix that ends the command when this process dies for any reason; Linux only.

    The kernel means the thread that started it, so one that is started by a passing thread is not tied.
    """
    setpriv = shutil.which("setpriv") if sys.platform.startswith("linux") else None
    passing = threading.current_thread() is not threading.main_thread()
    return () if setpriv is None or passing else (setpriv, "--pdeathsig", "TERM")


def children_of(pid: int, *, deep: bool = True) -> list[psutil.Process]:
    """The living processes below this one, at any depth unless told; none where it is gone. Zombies do not count."""
    try:
        below = psutil.Process(pid).children(recursive=deep)
    except psutil.NoSuchProcess:
        return []
    return [process for process in below if is_alive(process.pid)]


def is_alive(pid: int) -> bool:
    """True if the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class LoggedProcess:
    """A child whose output goes to a file, so that no full pipe can stop it and a failed test can show it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        stdin: int = subprocess.PIPE,
        python: str = sys.executable,
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                [*tied_to_this_process(), python, *arguments],
                stdin=stdin,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=env,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def output(self) -> str:
        """Output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for_line(self, prefix: str, *, within_s: float) -> str:
        """The rest of the first line with the prefix; AssertionError with the output otherwise."""

        def rest() -> str | None:
            lines = self.output.splitlines(keepends=True)
            complete = [
                line.removeprefix(prefix).strip() for line in lines if line.startswith(prefix) and line[-1] == "\n"
            ]
            if not complete and self._popen.poll() is not None:
                raise AssertionError(f"exit code {self._popen.returncode} before {prefix!r}:\n{self.output[-8000:]}")
            return complete[0] if complete else None

        try:
            found = eventually(rest, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"no line {prefix!r} within {within_s} s:\n{self.output[-8000:]}") from error
        assert found is not None
        return found

    def terminate(self) -> None:
        """Asks it to end (SIGTERM)."""
        self._popen.terminate()

    def send_signal(self, number: int) -> None:
        """Sends it a signal."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._popen.kill()

    def wait(self, *, within_s: float) -> int:
        """The exit code; subprocess.TimeoutExpired where it has not ended by then."""
        return self._popen.wait(within_s)

    def close_stdin(self) -> None:
        """Closes the child's stdin, as the death of this process would."""
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def stop(self, *, within_s: float) -> int:
        """Ends it, with SIGTERM first; kills it and what it started where that takes too long. The exit code."""
        self.close_stdin()
        self._popen.terminate()
        try:
            return self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            for process in (*children_of(self.pid), psutil.Process(self.pid)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            return self._popen.wait(within_s)
