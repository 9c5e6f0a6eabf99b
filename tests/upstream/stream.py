"""Event streams with the pauses and faults given by directives."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from apiproxy.standin.answer import Answer
from apiproxy.standin.responder import Responder, ResponseEndedError, Step
from apiproxy.standin.script import encode_event
from tests.upstream.directives import Directives

_PING = encode_event({"type": "ping"})
_GARBAGE = b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": \n\n'


async def cut(_: Responder) -> None:
    """End the response incomplete; the server then closes the connection."""
    raise ResponseEndedError


def stream_steps(answer: Answer, directives: Directives) -> Iterator[Step]:
    """Steps of the stream, in pieces of `[[split]]` bytes if given."""
    steps = _steps(answer, directives)
    return _split(steps, directives) if directives.split else steps


def _steps(answer: Answer, directives: Directives) -> Iterator[Step]:
    if directives.headers:
        yield Responder.hang
    if directives.raw is not None:
        yield directives.raw
        return
    eventful = _has_events_between_deltas(directives)
    deltas = 0
    for event in answer.events():
        yield encode_event(event)
        if event["type"] == "message_start" and directives.hang:
            yield Responder.hang
        elif event["type"] == "content_block_delta" and eventful:
            deltas += 1
            yield from _after_delta(directives, deltas)
            if directives.miderror == deltas:
                return


def _has_events_between_deltas(directives: Directives) -> bool:
    faults = (directives.odd, directives.cut, directives.midhang, directives.miderror, directives.garbage)
    return bool(directives.gap_s) or directives.ping > 0 or any(fault is not None for fault in faults)


def _after_delta(directives: Directives, deltas: int) -> Iterator[Step]:
    pauses = [partial(Responder.pause, seconds=directives.gap_s)] if directives.gap_s else []
    if directives.cut == deltas:
        yield from pauses  # a client may lose data that arrives together with the end
        yield cut
    elif directives.midhang == deltas:
        yield Responder.hang
    elif directives.miderror == deltas:
        yield encode_event(_error_event(directives))
    elif directives.garbage == deltas:
        yield _GARBAGE
    if directives.odd is not None and deltas == 1:
        yield b"event: content_block_delta\ndata: %s\n\n" % directives.odd.encode()
    if directives.ping and deltas % directives.ping == 0:
        yield _PING
    yield from pauses


def _error_event(directives: Directives) -> Mapping[str, Any]:
    error = {"type": directives.type or "overloaded_error", "message": directives.message or "Overloaded"}
    return {"type": "error", "error": error}


def _split(steps: Iterator[Step], directives: Directives) -> Iterator[Step]:
    pending = bytearray()
    for step in steps:
        if isinstance(step, bytes):
            pending += step
            continue
        yield from _pieces(pending, directives)
        yield step
    yield from _pieces(pending, directives)


def _pieces(pending: bytearray, directives: Directives) -> Iterator[Step]:
    """Empty the buffer; every piece is sent on its own."""
    data = bytes(pending)
    pending.clear()
    for at in range(0, len(data), directives.split):
        yield data[at : at + directives.split]
        yield partial(Responder.pause, seconds=directives.drip_s) if directives.drip_s else _send_now


async def _send_now(_: Responder) -> None:
    """Do nothing: an action flushes what precedes it."""
