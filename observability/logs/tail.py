"""A file of lines that only grows, read from its end: a day's log may be a gigabyte, and its last lines are wanted."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK_BYTES = 2**16
_COUNT_BYTES = 2**20
_MAX_FILES = 64


class LineCounts:
    """How many lines files have. What was counted once is remembered, so that a file's first look alone costs time.

    May be used by several threads; files are told apart by device and inode, and never get shorter.
    """

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[int, int], tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, file: BinaryIO, size_bytes: int) -> int:
        """The lines in the first `size_bytes`; a last one without its end counts."""
        stat = os.fstat(file.fileno())
        which = (stat.st_dev, stat.st_ino)
        with self._lock:
            at, lines = self._counted.get(which, (0, 0))
            if at > size_bytes:  # another file in its place
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
    """The lines of the first `size_bytes`, without their ends, the last one first; reads no more than it must."""
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
