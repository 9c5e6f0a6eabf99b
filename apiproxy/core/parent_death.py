"""Child processes that the kernel kills when this process dies."""

import shutil
import subprocess
import sys
from functools import cache

_PROBE_TIMEOUT_S = 5.0
_PRCTL_PROGRAM = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@cache
def parent_death_prefix() -> tuple[str, ...]:
    """Command prefix that sets PR_SET_PDEATHSIG to SIGKILL.

    Without it, an idle CLI exits at the end of stdin, but a busy one completes its turn, which the upstream bills.
    Linux only; empty elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is not None and _supports_pdeathsig(setpriv):
        return (setpriv, "--pdeathsig", "KILL")
    return (sys.executable, "-S", "-E", "-c", _PRCTL_PROGRAM)


def _supports_pdeathsig(setpriv: str) -> bool:
    """True if this is util-linux's setpriv; busybox's lacks --pdeathsig."""
    command = [setpriv, "--pdeathsig", "KILL", "true"]
    try:
        probe = subprocess.run(command, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0
