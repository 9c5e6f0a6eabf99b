"""Processes that lose their parent, as the workers of a serve process that was killed.

The first process of a container becomes their parent, and they stay as zombies until it asks for their exit codes.
"""

import os


def reap_orphans(own: set[int]) -> None:
    """Takes the exit codes of dead children other than these, which asyncio waits for itself."""
    try:
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in own:
                return
            os.waitpid(dead.si_pid, os.WNOHANG)
    except ChildProcessError:  # there is none at all
        pass
