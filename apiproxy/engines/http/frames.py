"""Events of a server-sent event stream, cut from the bytes that arrive. Pure.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import re
from typing import Any

import orjson

from apiproxy.core.json_pieces import parse
from apiproxy.core.offload import LARGE_BYTES

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Of one event, which is parsed on the event loop. Results of server tools, the largest known, have some 100 KB."""

_FRAME_END = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LINE_ENDS = b"\r\n"
_LONGEST_LINE_END = 2


class FrameTooLargeError(ValueError):
    """An event of more than MAX_FRAME_BYTES."""


class FrameSplitter:
    """Cuts a stream at the blank lines that end its events."""

    def __init__(self) -> None:
        self._held = bytearray()  # of an event whose end has not arrived

    def feed(self, data: bytes) -> bytes:
        """The complete events so far, each with its blank line. Raises FrameTooLargeError."""
        if not self._held:
            end = _last_end(data)
            complete = data[:end]
        else:
            tail = bytes(self._held[-_LONGEST_LINE_END:])  # the blank line may have begun in the data before
            end = max(0, _last_end(tail + data) - len(tail))
            complete = bytes(self._held) + data[:end] if end else b""
        if complete:
            self._held = bytearray(data[end:])
        else:
            self._held += data
        if len(self._held) > MAX_FRAME_BYTES:
            raise FrameTooLargeError
        return complete

    @property
    def rest(self) -> bytes:
        """The bytes of an event that was not finished."""
        return bytes(self._held)


def _last_end(data: bytes) -> int:
    if b"\r" in data:
        return max((match.end() for match in _FRAME_END.finditer(data)), default=0)
    end = data.rfind(b"\n\n")
    return end + 2 if end >= 0 else 0


def frames_in(complete: bytes) -> list[bytes]:
    """The events, without their blank lines."""
    if b"\r" not in complete:
        return [frame for frame in complete.split(b"\n\n") if frame]
    # The blank line of \r\n\r\n may seem complete before its last byte, which then begins the next event.
    return [event for frame in _FRAME_END.split(complete) if (event := frame.strip(_LINE_ENDS))]


def data_of(frame: bytes) -> bytes:
    """Data of one event: its `data` lines, joined. Empty for a comment."""
    head, found, data = frame.partition(b"data: ")
    simple = b"data:" not in head and (not head or head.endswith((b"\n", b"\r")))
    if found and simple and b"\n" not in data and b"\r" not in data:
        return data
    lines = [line[5:].removeprefix(b" ") for line in frame.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def parse_json(data: bytes) -> Any:
    """The value, or None if it is not JSON. Lone surrogates in escapes are allowed, as JavaScript does."""
    try:
        return parse(data) if len(data) > LARGE_BYTES else orjson.loads(data)
    except ValueError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
