"""Logging to stderr and daily files, one JSON object per line; terminals get a coloured format.

Callers only append a record to a bounded buffer; ten times a second a thread formats, redacts and writes them.
"""

import atexit
import logging
import sys
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from observability.logs.format import ConsoleLine, JsonLine
from observability.logs.log_files import RETENTION_DAYS, DailyFile
from observability.tracing.redact import Redactor

MAX_PENDING_LINES = 10_000
WRITE_S = 0.1
"""Interval between writes. Waking the thread for each line would dominate its cost."""

_STOP_S = 5.0
_QUIET = ("asyncio", "daphne", "django.channels.server", "httpx", "httpcore", "urllib3")


class LineBuffer(logging.Handler):
    """Bounded non-blocking buffer; records are dropped and counted when it is full."""

    def __init__(self, limit: int = MAX_PENDING_LINES) -> None:
        super().__init__()
        self._limit = limit
        self._records: deque[logging.LogRecord] = deque()
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._records) >= self._limit:
            self.dropped += 1
            return
        if record.args:
            record.msg, record.args = _message(record), None
        self._records.append(record)

    def take(self) -> list[logging.LogRecord]:
        """Remove and return all records, oldest first."""
        return [self._records.popleft() for _ in range(len(self._records))]


class Logging:
    """Logging of this process: the buffer and its writer thread. Created by `configure`."""

    def __init__(self, *, stream: TextIO, file: DailyFile, redactor: Redactor) -> None:
        self.buffer = LineBuffer()
        self._stream = stream
        self._file = file
        self._line = JsonLine(redactor)
        self._console = ConsoleLine(redactor) if stream.isatty() else None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._failed = 0

    @property
    def lost(self) -> int:
        """Lines missing from the file: buffer full, formatting failed or disk error."""
        return self.buffer.dropped + self._file.lost + self._failed

    def start(self) -> None:
        """Replace the root logger's handlers and start the writer thread."""
        root = logging.getLogger()
        for old in list(root.handlers):
            root.removeHandler(old)
        root.addHandler(self.buffer)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Write remaining lines and restore plain logging to stderr. Idempotent."""
        atexit.unregister(self.stop)
        root = logging.getLogger()
        if self.buffer in root.handlers:
            root.removeHandler(self.buffer)
            root.addHandler(logging.lastResort or logging.StreamHandler())
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)  # a hung disk or terminal must not block exit

    def _run(self) -> None:
        while not self._stopping.wait(WRITE_S):
            self._write(self.buffer.take())
        self._write(self.buffer.take())
        self._file.close()

    def _write(self, records: Sequence[logging.LogRecord]) -> None:
        by_date: dict[str, list[str]] = {}
        shown: list[str] = []
        for record in records:
            try:
                line = self._line.format(record)
                shown.append(line if self._console is None else self._console.format(record))
            except Exception:  # noqa: BLE001 - a bad record must not affect the others
                self._failed += 1
            else:
                by_date.setdefault(datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d"), []).append(line)
        for date, lines in by_date.items():
            self._file.append(date, lines)
        if shown:
            try:
                self._stream.write("\n".join(shown) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # stderr is closed
                self._failed += 0 if by_date else len(shown)


def configure(
    level: str,
    log_dir: Path,
    debug: bool,
    *,
    redactor: Redactor | None = None,
    stream: TextIO | None = None,
    retention_days: int = RETENTION_DAYS,
) -> Logging:
    """Configure logging for the whole process. debug: log everything regardless of `level`."""
    state = Logging(
        stream=stream or sys.stderr,
        file=DailyFile(log_dir, retention_days=retention_days),
        redactor=redactor or Redactor(),
    )
    logging.getLogger().setLevel(logging.DEBUG if debug else level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    state.start()
    return state


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # placeholders do not match the arguments
        return f"{record.msg} {record.args!r}"
