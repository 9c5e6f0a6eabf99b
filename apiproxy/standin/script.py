"""An answer as a list of steps: bytes to send, pauses to make, and the faults in between. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from apiproxy.standin.answer import Answer
from apiproxy.standin.directives import Directives


@dataclass(frozen=True, slots=True)
class Pause:
    """Send what there is, then wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Send what there is, then nothing more until the client leaves."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Send what there is, then break the connection."""


Step: TypeAlias = bytes | Pause | Hang | Cut

OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
"""What `[[miderror]]` sends unless it is told otherwise."""

_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_GARBAGE = b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": \n\n'


def encode(event: Mapping[str, Any]) -> bytes:
    """One server-sent event, named after its type."""
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))


def play(answer: Answer, directives: Directives, *, gap_s: float = 0.0) -> Iterator[Step]:
    """The stream of an answer. gap_s: the pause before each delta where no directive sets one."""
    if directives.headers:
        yield Hang()
    if directives.raw is not None:
        yield directives.raw
        return
    yield encode({"type": "message_start", "message": answer.opening()})
    if directives.hang:
        yield Hang()
    pace = _Pace(directives, gap_s)
    for index, block in enumerate(answer.blocks):
        yield encode({"type": "content_block_start", "index": index, "content_block": block.announced})
        if index == 0:
            yield _PING  # where the real API sends its first one
        for delta in block.deltas:
            yield encode({"type": "content_block_delta", "index": index, "delta": delta})
            pace.sent += 1
            if pace.eventful:
                yield from pace.after_delta()
                if pace.over:
                    return
        yield encode({"type": "content_block_stop", "index": index})
    yield encode({"type": "message_delta", "delta": answer.ending(), "usage": answer.usage})
    yield encode({"type": "message_stop"})


class _Pace:
    """What happens between deltas. over: the stream ends here."""

    def __init__(self, directives: Directives, gap_s: float) -> None:
        self._directives = directives
        self._gap_s = directives.gap_s if directives.gap_s is not None else gap_s
        faults = (directives.odd, directives.cut, directives.midhang, directives.miderror, directives.garbage)
        self.eventful = self._gap_s > 0 or directives.ping > 0 or any(fault is not None for fault in faults)
        self.sent = 0
        self.over = False

    def after_delta(self) -> Iterator[Step]:
        directives = self._directives
        if directives.cut == self.sent:
            self.over = True
            if self._gap_s > 0:  # a client may lose what arrives together with the end
                yield Pause(self._gap_s)
            yield Cut()
        elif directives.midhang == self.sent:
            yield Hang()
        elif directives.miderror == self.sent:
            self.over = True
            yield encode(_error_event(directives))
        elif directives.garbage == self.sent:
            yield _GARBAGE
        if directives.odd is not None and self.sent == 1:
            yield b"event: content_block_delta\ndata: %s\n\n" % directives.odd.encode()
        if directives.ping and self.sent % directives.ping == 0:
            yield _PING
        if self._gap_s > 0:
            yield Pause(self._gap_s)


def _error_event(directives: Directives) -> Mapping[str, Any]:
    error = OVERLOADED["error"]
    assert isinstance(error, dict)
    given = {"type": directives.type, "message": directives.message}
    return {"type": "error", "error": {**error, **{name: value for name, value in given.items() if value}}}
