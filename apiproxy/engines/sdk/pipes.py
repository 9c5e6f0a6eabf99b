"""A worker's pipes: whole lines of stdout; bounded ones of stderr, and the process held until they have been read.

The CLI asks the upstream a second time 1–2 ms after it has reported some errors (`failures.asks_again`), and nothing
but its end prevents that. An event loop is not always that fast, so on Linux the kernel stops the process inside its
write to stderr (docs/decisions/0018-one-upstream-call.md). Elsewhere the worker is ended as soon as the line is read.
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
"""What is kept of a line."""
LONG_LINE_BYTES = 256 * 1024
"""From here on a line that has not ended is reported as `Lines.long`."""
READ_BYTES = 256 * 1024
_HELD_BYTES = 512 * 1024
"""A process that writes more in a turn is held no longer, as each hold takes milliseconds."""
_MAX_LINE_BYTES = 64 * 1024 * 1024
_LOOKS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0)
"""Pauses between looks at a process that has written and is not stopped yet: the kernel wakes the reader first."""


class Lines:
    """Splits what is read into lines; each holds at most `LINE_BYTES`, and the rest of it is dropped."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._waiting_bytes = 0

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes, without the empty ones."""
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
        """The start of a line that is over `LONG_LINE_BYTES` and has not ended; None where there is no such line."""
        return self._waiting.decode(errors="replace") if self._waiting_bytes > LONG_LINE_BYTES else None

    def _keep(self, piece: bytes) -> None:
        self._waiting += piece[: LINE_BYTES - len(self._waiting)]
        self._waiting_bytes += len(piece)


class Brake:
    """Stops a process at each of its writes to a pipe, inside the write, until `release`. Linux only, else a no-op."""

    def __init__(self, pid: int, *, read_end: int, send_signal: Callable[[int], None]) -> None:
        self._pid = pid
        self._read_end = read_end
        self._send_signal = send_signal
        self._look: asyncio.TimerHandle | None = None
        self._works = sys.platform.startswith("linux")
        self._read_bytes = 0
        if self._works:
            fcntl.fcntl(read_end, fcntl.F_SETOWN, pid)
            fcntl.fcntl(read_end, fcntl.F_SETSIG, signal.SIGSTOP)
            self._set(on=True)

    def hold(self) -> None:
        """A turn begins: holds again a process that had written too much in the one before."""
        if self._works and self._read_bytes > _HELD_BYTES:
            self._set(on=True)
        self._read_bytes = 0

    def release(self, read_bytes: int) -> None:
        """Lets the process go on; to be called after each read of so many bytes."""
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
        """Looks no more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def let_go(self) -> None:
        """Ends the braking; a process that is held goes on, as its output is read no more."""
        self.cancel()
        if self._works:
            self._send_signal(signal.SIGCONT)

    def _release(self, looks: int) -> None:
        if looks == len(_LOOKS_S) or self._is_stopped():
            self._send_signal(signal.SIGCONT)
        else:
            self._look = asyncio.get_running_loop().call_later(_LOOKS_S[looks], self._release, looks + 1)

    def _is_stopped(self) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self._pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "T"
        return False


async def reader_of(read_end: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    """A stream over a pipe's read end, and the transport that closes it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES)
    pipe = os.fdopen(read_end, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


async def lines_of(stream: asyncio.StreamReader) -> AsyncIterator[list[bytes]]:
    """The complete lines of each read, together; one over `_MAX_LINE_BYTES` raises ValueError."""
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
