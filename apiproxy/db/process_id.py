"""Unique process names in the database, and liveness of processes on this machine."""

import contextlib
import functools
import hashlib
import os
import platform
from pathlib import Path

import psutil

from apiproxy.conf import gateway_settings

_SEPARATOR = "|"
_NODE_CHARS = 64
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


def node() -> str:
    """Node name: from the settings, else the host name."""
    return (gateway_settings().node or platform.node() or "localhost").replace(_SEPARATOR, "_")[:_NODE_CHARS]


def owner() -> str:
    """Name of this process: node, machine, PID and start time (PIDs are reused)."""
    pid = os.getpid()
    return _SEPARATOR.join((node(), _machine(), str(pid), _started(psutil.Process(pid))))


def is_gone(name: str) -> bool:
    """True if the process has died; False for processes on other machines."""
    where, _, rest = name.partition(_SEPARATOR)
    machine, _, rest = rest.partition(_SEPARATOR)
    pid, _, started = rest.partition(_SEPARATOR)
    if where != node() or machine != _machine() or not pid.isdecimal():
        return False
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or _started(process) != started
    except psutil.NoSuchProcess:
        return True


@functools.cache
def _machine() -> str:
    """Digest of the PID namespace, because node names may clash."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # not Linux
        parts += [_BOOT_ID.read_text(encoding="ascii").strip(), str(_PID_NAMESPACE.readlink())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _started(process: psutil.Process) -> str:
    return f"{process.create_time():.2f}"
