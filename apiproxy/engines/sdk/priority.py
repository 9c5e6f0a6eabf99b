"""Scheduling priority of worker processes."""

import contextlib
import os
from pathlib import Path

_NICENESS = 5


def lower_priority(pid: int) -> None:
    """Give the server precedence over the process, because all clients wait for the server.

    Linux may schedule by session (autogroup); then the session's niceness counts.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS))
