"""Jail of an agent's CLI: bubblewrap with own namespaces, and limits of processes, files, disk and memory.

Inside are `/usr` (read-only), a few files of `/etc`, the folders that the operator names, and the run's own files in
`/run/agent`. Only `/workspace`, `/home/agent`, `/tmp` and `/dev/shm` can be written; they are in memory, bounded, and
gone with the jail. There is no network. `kill_jail` ends all processes of it, and so does the end of the gateway.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apiproxy.engines.agents.folder import AgentFolder
from apiproxy.engines.agents.seccomp import seccomp_filter

JAILED_CLI = "/run/agent/claude"
JAILED_FILES = "/run/agent"
WORKSPACE = "/workspace"
HOME = "/home/agent"
WRITABLE = (WORKSPACE, HOME, "/tmp", "/dev/shm")  # noqa: S108
"""Folders in memory. The first gets half of the disk, the next a quarter, the others an eighth."""

_PROGRAMS = ("bwrap", "setpriv", "prlimit", "choom")
_INNER_ID = "1000"
_FILTER = "seccomp.bpf"
_FILTER_FD = "9"
_LINKED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/fonts",
    "/etc/mime.types",
)
_PASSWD = b"agent:x:1000:1000::/home/agent:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
_GROUP = b"agent:x:1000:\nnogroup:x:65534:\n"
_HOSTS = b"127.0.0.1 localhost\n"
_OPEN_FILES = 1_024
_MEGABYTE = 1024 * 1024
_STOPPED = ("T", "t", "Z", "X", "")
_STOP_TIMEOUT_S = 0.05
_STOP_CHECK_S = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class JailLimits:
    """Limits of one jail. disk_mb: of all files together; the half of it for `/workspace`."""

    memory_mb: int = 1_024
    disk_mb: int = 256
    processes: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Jail:
    """Command line of a jail.

    readable: further folders of the machine that can be read inside, at the same paths.
    """

    folder: AgentFolder
    cli: Path
    limits: JailLimits
    readable: Sequence[Path] = ()

    def command(self, inner: Sequence[str], *, files: Sequence[str] = ()) -> list[str]:
        """Argument vector that runs the inner one in the jail. files: of the folder, to be found in `/run/agent`.

        The environment of the process is that of the inner one. Raises OSError.
        """
        own = {"passwd": _PASSWD, "group": _GROUP, "hosts": _HOSTS, _FILTER: seccomp_filter()}
        for name, data in own.items():
            with contextlib.suppress(FileExistsError):
                self.folder.write(name, data)
        return [*self._outside(), *self._namespaces(), *self._mounts(files), "--", *self._inside(), *inner]

    def _outside(self) -> list[str]:
        """Prefix that gives up all privileges, is killed with the gateway, and is the first that the kernel kills."""
        uid = self.folder.uid
        user = [] if uid is None else [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        program = 'filter=$0; exec "$@" 9<"$filter"'
        return [
            *(_program("choom"), "-n", "1000", "--"),
            *(_program("setpriv"), *user, "--pdeathsig", "KILL", "--no-new-privs", "--"),
            *("/bin/sh", "-c", program, str(self.folder.path / _FILTER)),
        ]

    def _namespaces(self) -> list[str]:
        return [
            *(_program("bwrap"), "--unshare-all", "--unshare-user", "--uid", _INNER_ID, "--gid", _INNER_ID),
            *("--hostname", "agent", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--seccomp", _FILTER_FD),
        ]

    def _mounts(self, files: Sequence[str]) -> list[str]:
        folder, disk = self.folder.path, self.limits.disk_mb * _MEGABYTE
        mounts = ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
        for name in _LINKED:
            path = Path("/", name)
            if path.is_symlink():
                mounts += ["--symlink", f"usr/{name}", f"/{name}"]
            elif path.is_dir():
                mounts += ["--ro-bind", f"/{name}", f"/{name}"]
        for given in _ETC:
            mounts += ["--ro-bind-try", given, given]
        for name in ("passwd", "group", "hosts"):
            mounts += ["--ro-bind", str(folder / name), f"/etc/{name}"]
        for readable in map(str, self.readable):
            mounts += ["--ro-bind", readable, readable]
        mounts += ["--ro-bind", str(self.cli), JAILED_CLI]
        for name in files:
            mounts += ["--ro-bind", str(folder / name), f"{JAILED_FILES}/{name}"]
        for target, size in zip(WRITABLE, (disk // 2, disk // 4, disk // 8, disk // 8), strict=True):
            mounts += ["--perms", "0700", "--size", str(size), "--tmpfs", target]
        # What bubblewrap makes writable itself has no limit.
        for target in ("/dev", "/"):
            mounts += ["--remount-ro", target]
        return [*mounts, "--chdir", WORKSPACE]

    def _inside(self) -> list[str]:
        """Prefix with the limits, inside, because they would count the other processes of the same user outside."""
        size = self.limits.disk_mb * _MEGABYTE
        return [
            *("/usr/bin/prlimit", f"--nproc={self.limits.processes}", f"--fsize={size}", f"--nofile={_OPEN_FILES}"),
            *("--core=0", "--"),
        ]


def kill_jail(pid: int) -> None:
    """Kill all processes of a jail by the id of its bubblewrap, which must not have been waited for.

    SIGKILL of bubblewrap alone is not enough while it starts: its child is bound to its life only later, and would go
    on. So bubblewrap is stopped first, its child is killed, which is process 1 of the jail, and then bubblewrap.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while _state(pid) not in _STOPPED and time.monotonic() < deadline:
            time.sleep(_STOP_CHECK_S)
        for child in child_pids(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)


def child_pids(pid: int) -> list[int]:
    """Children of a process, none if it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _state(pid: int) -> str:
    """State of a process as one letter, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def missing_programs() -> list[str]:
    """Programs that a jail needs and that are not installed."""
    return [name for name in _PROGRAMS if shutil.which(name) is None]


def _program(name: str) -> str:
    return shutil.which(name) or name
