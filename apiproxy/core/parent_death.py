"""Child processes that die with this one."""

import shutil
import subprocess
import sys
from functools import cache

_PROBE_TIMEOUT_S = 5.0
_TIE = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@cache
def tied_to_us() -> tuple[str, ...]:
    """What to put before a command so that the kernel kills it when this process dies, however it dies.

    An idle CLI exits when its stdin ends; one in the middle of a turn goes on to the turn's end, and the upstream bills
    it. Linux only: elsewhere such a worker outlives a `kill -9` of the server until its turn is over.
    """
    if not sys.platform.startswith("linux"):
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is not None and _knows_pdeathsig(setpriv):
        return (setpriv, "--pdeathsig", "KILL")
    return (sys.executable, "-S", "-E", "-c", _TIE)


def _knows_pdeathsig(setpriv: str) -> bool:
    """util-linux's setpriv does, busybox's does not."""
    command = [setpriv, "--pdeathsig", "KILL", "true"]
    try:
        probe = subprocess.run(command, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0
