"""Watch over the memory and disk of jails: a thread that kills those over their limits.

Every 250 ms it adds up what the processes of each jail use, and how full its folders are. It needs no event loop, so
that a jail is killed also while that is busy. Memory that no process has mapped (sockets, pipes, files in memory that
were deleted) shows in the folders, is bounded by the seccomp filter and the number of open files, or makes the machine
short of memory, for which jails are killed, too.
"""

import asyncio
import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from apiproxy.engines.agents.jail import WRITABLE, JailLimits, child_pids, kill_jail

logger = logging.getLogger(__name__)

Exceeded = Literal["memory", "disk"]

INTERVAL_S = 0.25
_MEGABYTE = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_FILES_PER_MB = 100
"""An empty file takes a kilobyte of the kernel's memory, which the size of a folder does not count."""
_FULL_BYTES = 64 * 1024
_MAX_FAILURES = 40
"""Measurements in a row that may fail, as they do while bubblewrap starts; a jail without a watch is killed."""
_LOW_PERCENT = 3
"""Of the machine's memory: below that, the largest jail is killed."""


@dataclass(eq=False)
class WatchedJail:
    """A jail under watch. exceeded: limit for which it was killed."""

    pid: int
    limits: JailLimits
    on_exceeded: Callable[[Exceeded], None]
    loop: asyncio.AbstractEventLoop
    descriptor: int
    exceeded: Exceeded | None = None
    memory_bytes: int = 0
    failures: int = 0
    inner_pid: int | None = None


class JailWatch:
    """Kills jails that exceed their limits. The thread runs while there are jails."""

    def __init__(self, *, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._jails: set[WatchedJail] = set()
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    def add(self, pid: int, limits: JailLimits, on_exceeded: Callable[[Exceeded], None]) -> WatchedJail:
        """Watch a jail by the process id of its bubblewrap, a child of this process.

        on_exceeded: called on this event loop after the jail was killed.
        """
        loop = asyncio.get_running_loop()
        jail = WatchedJail(pid, limits, on_exceeded, loop, os.pidfd_open(pid))
        with self._lock:
            self._jails.add(jail)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jail-watch", daemon=True)
                self._thread.start()
        return jail

    def remove(self, jail: WatchedJail) -> None:
        """Stop watching; the jail has ended."""
        with self._lock:
            if jail in self._jails:
                self._jails.discard(jail)
                os.close(jail.descriptor)
                self._changed.set()

    def memory_bytes(self, jail: WatchedJail) -> int:
        """Memory of its processes, as last measured."""
        return jail.memory_bytes

    def _run(self) -> None:
        while True:
            self._changed.wait(self._interval_s)
            self._changed.clear()
            with self._lock:
                jails = [jail for jail in self._jails if jail.exceeded is None]
                if not self._jails:
                    self._thread = None
                    return
            for jail in jails:
                try:
                    self._check(jail)
                except Exception:  # a mistake with one jail must not leave the others without a watch
                    logger.exception("agents.jail_not_measured", extra={"pid": jail.pid})
            if jails and _memory_is_low():
                self._kill(max(jails, key=lambda jail: jail.memory_bytes), "memory")

    def _check(self, jail: WatchedJail) -> None:
        limit = jail.limits.memory_mb * _MEGABYTE
        try:
            inside = _inside(jail)
            jail.memory_bytes = _resident_bytes(inside)
            if jail.memory_bytes > limit:
                jail.memory_bytes = _proportional_bytes(inside)
            too_full = _is_full(inside, jail.limits)
            jail.failures = 0
        except OSError:
            jail.failures += 1
            if jail.failures > _MAX_FAILURES and not _has_ended(jail):
                self._kill(jail, "memory")
            return
        if jail.memory_bytes > limit:
            self._kill(jail, "memory")
        elif too_full:
            self._kill(jail, "disk")

    def _kill(self, jail: WatchedJail, exceeded: Exceeded) -> None:
        with self._lock:
            if jail not in self._jails or jail.exceeded is not None:
                return
            jail.exceeded = exceeded
            if not _has_ended(jail):
                kill_jail(jail.pid)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            jail.loop.call_soon_threadsafe(jail.on_exceeded, exceeded)
        logger.warning("agents.jail_killed", extra={"pid": jail.pid, "reason": exceeded, "bytes": jail.memory_bytes})


def _inside(jail: WatchedJail) -> Path:
    """Root folder of the jail. Raises OSError until bubblewrap has made it."""
    if jail.inner_pid is None:
        jail.inner_pid = next(iter(child_pids(jail.pid)), None)
    if jail.inner_pid is None:
        raise ProcessLookupError
    inside = Path(f"/proc/{jail.inner_pid}/root")
    if inside.stat().st_ino == Path("/").stat().st_ino and inside.stat().st_dev == Path("/").stat().st_dev:
        raise ProcessLookupError
    return inside


def _has_ended(jail: WatchedJail) -> bool:
    poll = select.poll()
    poll.register(jail.descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _processes(inside: Path) -> list[Path]:
    """All processes of the jail: its own /proc lists nothing else."""
    with os.scandir(inside / "proc") as entries:
        return [inside / "proc" / entry.name for entry in entries if entry.name.isdecimal()]


def _resident_bytes(inside: Path) -> int:
    """Sum of what is resident, with shared pages counted for each process. Fast."""
    total = 0
    for process in _processes(inside):
        with contextlib.suppress(OSError, IndexError):
            total += int((process / "statm").read_text().split()[1]) * _PAGE_BYTES
    return total


def _proportional_bytes(inside: Path) -> int:
    """The same with shared pages counted once. Slower."""
    total = 0
    for process in _processes(inside):
        with contextlib.suppress(OSError):
            for line in (process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def _is_full(inside: Path, limits: JailLimits) -> bool:
    files = 0
    for folder in WRITABLE:
        state = os.statvfs(inside / folder.lstrip("/"))
        if state.f_bavail * state.f_frsize < _FULL_BYTES:
            return True
        files += state.f_files - state.f_ffree
    return files > limits.disk_mb * _FILES_PER_MB


def _memory_is_low() -> bool:
    """True if the machine is nearly out of memory."""
    total = available = 0
    with contextlib.suppress(OSError), Path("/proc/meminfo").open() as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if name == "MemTotal":
                total = int(rest.split()[0])
            elif name == "MemAvailable":
                available = int(rest.split()[0])
                break
    return 0 < available < total * _LOW_PERCENT // 100
