"""Which process a reservation belongs to, and whether it is still there."""

import functools
import os
import platform

import psutil

_SEPARATOR = "|"


@functools.cache
def node() -> str:
    """This machine's name, or this container's."""
    return (platform.node() or "localhost").replace(_SEPARATOR, "_")[:100]


def owner() -> str:
    """This process: node, process id, and when it started, since process ids are used again."""
    pid = os.getpid()
    return _SEPARATOR.join((node(), str(pid), _started(psutil.Process(pid))))


def is_gone(name: str) -> bool:
    """Whether the owner was a process of this node that has ended. Nobody here knows of those on other nodes."""
    where, _, rest = name.partition(_SEPARATOR)
    pid, _, started = rest.partition(_SEPARATOR)
    if where != node() or not pid.isdecimal():
        return False
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or _started(process) != started
    except psutil.NoSuchProcess:
        return True


def _started(process: psutil.Process) -> str:
    return f"{process.create_time():.2f}"
