"""Private folders of agent runs, and the users that runs have if the gateway is root."""

import contextlib
import fcntl
import hashlib
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from apiproxy.engines.sdk.launch import sweep

_ROOTS_FOLDER = Path("/run/claude-sdk-proxy")
"""For root: a run's user must get through all folders above its own, and state folders are closed to others."""
_USERS = "users"
"""Locks of the user ids in use, below that folder."""
_MAX_UID_TRIES = 64
_CREATE_ATTEMPTS = 5


def agent_folders(state_dir: Path) -> Path:
    """Parent of the folders of all runs of this gateway."""
    if os.geteuid() != 0:
        return state_dir / "agents"
    name = hashlib.sha256(str(state_dir.absolute()).encode()).hexdigest()[:12]
    return _ROOTS_FOLDER / name


def sweep_agent_folders(state_dir: Path) -> None:
    """Remove what crashed gateways left: this one's folders, for root those of all gateways of the machine."""
    own = agent_folders(state_dir)
    sweep(own)
    if own.parent == _ROOTS_FOLDER and _ROOTS_FOLDER.is_dir():
        for folder in _ROOTS_FOLDER.iterdir():
            if folder.name != _USERS:
                sweep(folder)
                _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it is in use, or another process has removed it
        folder.rmdir()


@dataclass(frozen=True, slots=True)
class AgentFolder:
    """Folder of one run: its socket and files, and the home of a worker without a jail.

    uid: the run's user; None for the gateway's own.
    """

    path: Path
    uid: int | None = None

    @classmethod
    def create(cls, parent: Path, name: str, *, uid: int | None = None) -> "AgentFolder":
        """Create the folder for that user only. Its name starts with this process's id, for `sweep`. Raises OSError."""
        path = parent / f"{os.getpid()}-{name}"
        for attempt in range(_CREATE_ATTEMPTS):
            for above in (parent.parent, parent) if uid is not None else ():
                above.mkdir(mode=0o711, parents=True, exist_ok=True)
                above.chmod(0o711)
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                path.mkdir(mode=0o700)
                break
            except FileNotFoundError:  # another process has just removed the empty parent
                if attempt == _CREATE_ATTEMPTS - 1:
                    raise
        if uid is not None:
            os.chown(path, uid, uid)
        return cls(path, uid)

    @property
    def socket(self) -> Path:
        """Socket of the relay."""
        return self.path / "model.sock"

    def write(self, name: str, data: bytes) -> Path:
        """Write a file that only the run can read, and return its path."""
        path = self.path / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)
        return path

    def subfolder(self, name: str) -> Path:
        """A folder in it, created at first use."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def remove(self) -> None:
        """Delete the folder and its contents, and for root the parent of this gateway if it is empty."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.parent.parent == _ROOTS_FOLDER:
            _remove_empty(self.path.parent)


@dataclass(frozen=True, slots=True)
class RunUser:
    """A user id that no other live run of this machine has, until `release`."""

    uid: int
    _lock: int

    @classmethod
    def take(cls, first: int, last: int) -> "RunUser":
        """Take a free id of the range. Raises OSError if there is none."""
        folder = _ROOTS_FOLDER / _USERS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        candidates = range(first, last + 1)
        for uid in random.sample(candidates, min(len(candidates), _MAX_UID_TRIES)):
            lock = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return cls(uid, lock)
        raise OSError(f"all user ids from {first} to {last} are in use by other runs")

    def release(self) -> None:
        """Give the id back. Nothing of the run may be left."""
        with contextlib.suppress(OSError):
            os.close(self._lock)
