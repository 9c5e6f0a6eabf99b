"""Tail of an append-only file. Logs may be a gigabyte, so they are read from the end."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK_BYTES = 2**16
_COUNT_BYTES = 2**20
_MAX_FILES = 64


class LineCounts:
    """Line counts of append-only files, cached so that only new content is read.

    Thread-safe. Files are identified by device and inode.
    """

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[int, int], tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, file: BinaryIO, size_bytes: int) -> int:
        """Number of lines in the first `size_bytes`, including an unterminated last one."""
        stat = os.fstat(file.fileno())
        which = (stat.st_dev, stat.st_ino)
        with self._lock:
            at, lines = self._counted.get(which, (0, 0))
            if at > size_bytes:  # truncated or replaced
                at, lines = 0, 0
            while at < size_bytes and (block := os.pread(file.fileno(), min(_COUNT_BYTES, size_bytes - at), at)):
                lines += block.count(b"\n")
                at += len(block)
            self._counted[which] = (at, lines)
            self._counted.move_to_end(which)
            if len(self._counted) > _MAX_FILES:
                self._counted.popitem(last=False)
        return lines + (at > 0 and os.pread(file.fileno(), 1, at - 1) != b"\n")


def lines_from_end(file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    """Lines of the first `size_bytes` without line ends, last line first. Reads lazily."""
    at, pieces = size_bytes, [b""]
    if size_bytes and os.pread(file.fileno(), 1, size_bytes - 1) == b"\n":
        at -= 1
    while at > 0:
        start = max(0, at - _BLOCK_BYTES)
        head, *whole = os.pread(file.fileno(), at - start, start).split(b"\n")
        at = start
        if not whole:
            pieces.append(head)
            continue
        pieces.append(whole.pop())
        yield b"".join(reversed(pieces))
        yield from reversed(whole)
        pieces = [head]
    if size_bytes:
        yield b"".join(reversed(pieces))
