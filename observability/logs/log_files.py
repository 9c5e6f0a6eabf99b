"""Daily log files, named by UTC date: append, list, tail and delete."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson

from observability.logs.tail import LineCounts, lines_from_end

RETENTION_DAYS = 14
MAX_FILE_BYTES = 1 * 2**30
"""Maximum file size; further lines go to stderr only."""

MAX_TAIL = 10_000
_RETRY_S = 30.0
_NAME = re.compile(r"proxy-\d{4}-\d{2}-\d{2}\.log", re.ASCII)
_counts = LineCounts()
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class DailyFile:
    """Appends lines to the file of their day.

    Lines that cannot be written are counted as lost; never raises.
    Each batch is a single write, so several processes can share the folder. Used by one thread.
    """

    def __init__(self, folder: Path, *, retention_days: int = RETENTION_DAYS) -> None:
        self._folder = folder
        self._retention_days = retention_days
        self._date = ""
        self._descriptor: int | None = None
        self._retry_at = 0.0
        self.lost = 0

    def append(self, date: str, lines: Sequence[str]) -> None:
        """Append lines (without line ends) to the file of a date (`YYYY-MM-DD`)."""
        if time.monotonic() < self._retry_at:
            self.lost += len(lines)
            return
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        try:
            descriptor = self._open(date)
            if os.fstat(descriptor).st_size + len(data) > MAX_FILE_BYTES:
                self.lost += len(lines)
            else:
                os.write(descriptor, data)
        except OSError:  # folder missing or disk full; the lines are still on stderr
            self.lost += len(lines)
            self._retry_at = time.monotonic() + _RETRY_S
            self.close()

    def close(self) -> None:
        """Close the file; `append` reopens it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, date: str) -> int:
        if self._descriptor is None or date != self._date:
            self.close()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._folder / f"proxy-{date}.log", flags, 0o600)
            self._date = date
            delete_old(self._folder, keep_days=self._retention_days)
        return self._descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """Directory entry of a log file."""

    name: str
    size_bytes: int
    modified_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Last lines of a log file. total: lines in the whole file."""

    total: int
    lines: list[str]


def is_log_name(name: str) -> bool:
    """True if the name is a log file name, and not a path."""
    return _NAME.fullmatch(name) is not None


def list_files(folder: Path) -> list[LogFile]:
    """Log files, newest first; empty if the folder does not exist."""
    files = []
    for path in _log_paths(folder):
        stat = path.lstat()
        files.append(LogFile(name=path.name, size_bytes=stat.st_size, modified_at=stat.st_mtime))
    return sorted(files, key=lambda file: file.name, reverse=True)


def delete_old(folder: Path, *, keep_days: int) -> int:
    """Delete files older than `keep_days`; returns their number."""
    oldest = (datetime.now(UTC) - timedelta(days=keep_days)).strftime("proxy-%Y-%m-%d.log")
    old = [path for path in _log_paths(folder) if path.name < oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def tail(folder: Path, name: str, count: int, *, level: str = "", text: str = "") -> Tail:
    """Last `count` lines, oldest first.

    Optionally with a minimum level, and containing a text (case-insensitive).
    Raises ValueError for an invalid file name, FileNotFoundError for a missing file.
    """
    if not is_log_name(name):
        raise ValueError(name)
    least, needle = _LEVELS.get(level.lower(), 0), text.casefold()
    with _opened(folder / name) as file:
        size_bytes = os.fstat(file.fileno()).st_size  # later lines are ignored
        found = (
            shown
            for line in lines_from_end(file, size_bytes)
            if (not least or _level_of(line) >= least) and (needle in (shown := _decoded(line)).casefold())
        )
        last = list(islice(found, max(1, min(count, MAX_TAIL))))
        return Tail(total=_counts.count(file, size_bytes), lines=last[::-1])


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _opened(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:  # symbolic links count as missing
        raise FileNotFoundError(path.name) from error
    return open(descriptor, "rb", buffering=0)  # noqa: PTH123 - a descriptor, closed by the caller


def _level_of(line: bytes) -> int:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return 0
    return _LEVELS.get(str(entry.get("level")), 0) if isinstance(entry, dict) else 0


def _log_paths(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if is_log_name(path.name) and not path.is_symlink()]
    except FileNotFoundError:
        return []
