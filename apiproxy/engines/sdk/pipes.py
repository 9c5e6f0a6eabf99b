"""A worker's pipes: whole lines of stdout, bounded lines of stderr, and a brake on writes to stderr.

The CLI sends a second upstream request 1–2 ms after it has reported some errors (`errors.is_retried_by_cli`), and only
killing it prevents that. An event loop is not always that fast, so on Linux the kernel stops the process inside its
write to stderr (docs/decisions/0018-one-upstream-call.md). Elsewhere the worker is killed once the line is read.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

LINE_BYTES = 64 * 1024
"""Kept part of a line."""
LONG_LINE_BYTES = 256 * 1024
"""Length from which an unfinished line is reported as `Lines.long`."""
READ_BYTES = 256 * 1024
_HELD_BYTES = 512 * 1024
"""A process that writes more in a turn is not stopped any more, as each stop takes milliseconds."""
_MAX_LINE_BYTES = 64 * 1024 * 1024
_POLLS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0)
"""Pauses between polls of a process that is not stopped yet: the kernel wakes the reader first."""


class Lines:
    """Splits chunks into lines, each cut off after `LINE_BYTES`."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._waiting_bytes = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Lines completed by this chunk, without empty ones."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            self._keep(piece)
            if self._waiting:
                lines.append(self._waiting.decode(errors="replace"))
            self._waiting.clear()
            self._waiting_bytes = 0
        self._keep(rest)
        return lines

    @property
    def long(self) -> str | None:
        """Start of an unfinished line over `LONG_LINE_BYTES`; None if there is none."""
        return self._waiting.decode(errors="replace") if self._waiting_bytes > LONG_LINE_BYTES else None

    def _keep(self, piece: bytes) -> None:
        self._waiting += piece[: LINE_BYTES - len(self._waiting)]
        self._waiting_bytes += len(piece)


class StderrBackpressure:
    """Stops a process inside each write to a pipe, until `release`. A no-op except on Linux."""

    def __init__(self, pid: int, *, read_end: int, send_signal: Callable[[int], None]) -> None:
        self._pid = pid
        self._read_end = read_end
        self._send_signal = send_signal
        self._poll: asyncio.TimerHandle | None = None
        self._works = sys.platform.startswith("linux")
        self._read_bytes = 0
        if self._works:
            fcntl.fcntl(read_end, fcntl.F_SETOWN, pid)
            fcntl.fcntl(read_end, fcntl.F_SETSIG, signal.SIGSTOP)
            self._set(on=True)

    def hold(self) -> None:
        """Begin a turn: stop the process again, even if it wrote too much in the turn before."""
        if self._works and self._read_bytes > _HELD_BYTES:
            self._set(on=True)
        self._read_bytes = 0

    def release(self, read_bytes: int) -> None:
        """Resume the process; to be called after each read of so many bytes."""
        if not self._works:
            return
        if self._read_bytes <= _HELD_BYTES < self._read_bytes + read_bytes:
            self._set(on=False)
        self._read_bytes += read_bytes
        self.cancel()
        self._release(0)

    def _set(self, *, on: bool) -> None:
        flags = fcntl.fcntl(self._read_end, fcntl.F_GETFL) & ~os.O_ASYNC
        fcntl.fcntl(self._read_end, fcntl.F_SETFL, flags | (os.O_ASYNC if on else 0))

    def cancel(self) -> None:
        """Stop polling."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None

    def close(self) -> None:
        """Stop polling and resume the process, because its output is not read any more."""
        self.cancel()
        if self._works:
            self._send_signal(signal.SIGCONT)

    def _release(self, polls: int) -> None:
        if polls == len(_POLLS_S) or self._is_stopped():
            self._send_signal(signal.SIGCONT)
        else:
            self._poll = asyncio.get_running_loop().call_later(_POLLS_S[polls], self._release, polls + 1)

    def _is_stopped(self) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self._pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "T"
        return False


async def open_reader(read_end: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    """Open a stream over a pipe's read end; returns it with the transport that closes it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES)
    pipe = os.fdopen(read_end, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


async def read_lines(stream: asyncio.StreamReader) -> AsyncIterator[list[bytes]]:
    """Yield the complete lines of each read as a list; a line over `_MAX_LINE_BYTES` raises ValueError."""
    parts: list[bytes] = []
    waiting_bytes = 0
    while chunk := await stream.read(READ_BYTES):
        head, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            parts.append(chunk)
            waiting_bytes += len(chunk)
            if waiting_bytes > _MAX_LINE_BYTES:
                raise ValueError(f"a line of the worker is longer than {_MAX_LINE_BYTES} bytes")
            continue
        parts.append(head)
        yield [line for line in b"".join(parts).split(b"\n") if line]
        parts = [rest] if rest else []
        waiting_bytes = len(rest)
    if parts:
        yield [b"".join(parts)]
