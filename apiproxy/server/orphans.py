"""Reaping of orphaned processes, such as the workers of a serve process that was killed.

In a container they are re-parented to PID 1 and stay zombies until it waits for them.
"""

import os


def reap_orphans(own: set[int]) -> None:
    """Waits for dead children other than `own`, which asyncio waits for itself."""
    try:
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in own:
                return
            os.waitpid(dead.si_pid, os.WNOHANG)
    except ChildProcessError:  # no children
        pass
