"""Events of a server-sent event stream, cut from the bytes that arrive. Pure.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import re
from typing import Any

import orjson

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Of one event. The largest that the API is known to send, results of server tools, have a few hundred KB."""

_FRAME_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class FrameTooLargeError(ValueError):
    """An event of more than MAX_FRAME_BYTES."""


class FrameSplitter:
    """Cuts a stream at the blank lines that end its events."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of an event whose end has not arrived
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """The complete events so far, each with its blank line. Raises FrameTooLargeError."""
        # The blank line may have begun in the data before.
        if self._parts and (len(self._parts[-1]) < 3 or self._parts[-1][-1] in b"\r\n"):
            data = self._parts.pop() + data
            self._size = sum(map(len, self._parts))
        end = _last_end(data)
        if end < 0:
            self._keep(data)
            return b""
        complete = b"".join((*self._parts, data[:end]))
        self._parts, self._size = [], 0
        self._keep(data[end:])
        return complete

    @property
    def rest(self) -> bytes:
        """The bytes of an event that was not finished."""
        return b"".join(self._parts)

    def _keep(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)
        if self._size > MAX_FRAME_BYTES:
            raise FrameTooLargeError


def _last_end(data: bytes) -> int:
    end = data.rfind(b"\n\n")
    end = end + 2 if end >= 0 else -1
    if b"\r" in data:
        end = max((match.end() for match in _FRAME_END.finditer(data)), default=-1)
    return end


def frames_in(complete: bytes) -> list[bytes]:
    """The events, without their blank lines."""
    if b"\r" in complete:
        return [frame for frame in _FRAME_END.split(complete) if frame]
    return [frame for frame in complete.split(b"\n\n") if frame]


def data_of(frame: bytes) -> bytes:
    """Data of one event: its `data` lines, joined. Empty for a comment."""
    head, found, data = frame.partition(b"data: ")
    if found and b"\n" not in data and b"\r" not in data and (not head or head.endswith((b"\n", b"\r"))):
        return data
    lines = [line[5:].removeprefix(b" ") for line in frame.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def parse_json(data: bytes) -> Any:
    """The value, or None if it is not JSON. Lone surrogates in escapes are allowed, as JavaScript does."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
