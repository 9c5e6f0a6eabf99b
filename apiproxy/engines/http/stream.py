"""Translation of an upstream's response into batches of events and an outcome. Pure."""

from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent, Usage
from apiproxy.core.message import unfold
from apiproxy.engines.base import Batch, Broken, Completed, Outcome, Stopped
from apiproxy.engines.http.errors import error_of_event
from apiproxy.engines.http.frames import FrameSplitter, FrameTooLargeError, data_of, frames_in, parse_json
from apiproxy.engines.stream.block_indices import BlockIndices
from apiproxy.engines.stream.counts import clamp_event
from apiproxy.engines.stream.error_types import NO_EVENTS
from apiproxy.engines.stream.usage import UsageFold
from apiproxy.engines.stream.validation import StreamValidator

_WITH_USAGE = ("message_start", "message_delta")


class EventStream:
    """State of one answer.

    verbatim: the bytes are passed on as received, and only an `error` event is taken out of them. Events that are not
    valid are then missing in the batches, but not in their bytes; otherwise the first one ends the answer.
    """

    def __init__(self, *, verbatim: bool) -> None:
        self.outcome: Outcome | None = None
        self._verbatim = verbatim
        self._splitter = FrameSplitter()
        self._indices = BlockIndices()
        self._validator = StreamValidator()
        self._valid = True
        self._usage = UsageFold()
        self._counts_clamped = False
        self._stop_reason: str | None = None
        self._complete = False
        self._received = False

    @property
    def complete(self) -> bool:
        """True once `message_stop` has arrived."""
        return self._complete

    def feed(self, data: bytes) -> Batch | None:
        """Events completed by these bytes of the stream; may set the outcome."""
        try:
            received = self._splitter.feed(data)
        except FrameTooLargeError:
            self.broken(ProxyError(FailureKind.CONNECTION_LOST, "The upstream sent an event that is too large."))
            return None
        if not received:
            return None
        self._received = True
        events: list[StreamEvent] = []
        frames = frames_in(received)
        for number, frame in enumerate(frames):
            if not (data_bytes := data_of(frame)):
                continue
            event = parse_json(data_bytes)
            if isinstance(event, dict) and event.get("type") == "error":
                self.broken(error_of_event(event, data_bytes))
                received = received[: _start_of(received, frames, number)]
                break
            self._add(event, events)
            if self.outcome is not None:
                break
        raw = received if self._verbatim else b""
        return Batch(events, raw) if events or raw else None

    def whole(self, body: bytes) -> Batch | None:
        """Batch of a response that is not a stream; sets the outcome."""
        answer = parse_json(body)
        events: list[StreamEvent] = []
        for event in unfold(answer) if _is_message(answer) else ():
            self._add(event, events)
        if not self._complete or self.outcome is not None:
            message = "The upstream's answer is not a Messages API answer."
            self.broken(ProxyError(FailureKind.CONNECTION_LOST, message))
            return None
        self._finish()
        return Batch(events, body if self._verbatim else b"")

    def end(self) -> Batch | None:
        """The upstream has closed the response. Returns what it sent after its last event."""
        if self._complete:
            self._finish()
        else:
            message = "The connection to the upstream API was lost." if self._received else NO_EVENTS
            self.broken(ProxyError(FailureKind.CONNECTION_LOST, message))
        rest = self._splitter.rest
        return Batch((), rest) if rest and self._complete and self._verbatim else None

    def broken(self, error: ProxyError, *, unsent: bool = False) -> None:
        """End with this error, unless the message is complete."""
        if self._complete:
            self._finish()
        elif self.outcome is None:
            self.outcome = Broken(error=error, usage=self.usage(), unsent=unsent)

    def stopped(self) -> None:
        """End because `stop` was called, unless the message is complete."""
        if self._complete:
            self._finish()
        elif self.outcome is None:
            self.outcome = Stopped(usage=self.usage())

    def usage(self) -> Usage:
        """The upstream's counts so far; estimated if some were out of range."""
        return self._usage.usage(estimated=self._counts_clamped)

    def _finish(self) -> None:
        if self.outcome is None:
            self.outcome = Completed(stop_reason=self._stop_reason or "", usage=self.usage())

    def _add(self, event: Any, events: list[StreamEvent]) -> None:
        if isinstance(event, dict) and event.get("type") in _WITH_USAGE:
            event, sane = clamp_event(event)
            self._counts_clamped = self._counts_clamped or not sane
        event = self._indices.renumber(event)
        self._valid = self._valid and self._validator.accepts(event)
        if not self._valid:
            self._note_invalid(event)
            return
        events.append(event)
        match event["type"]:
            case "content_block_delta":
                pass
            case "message_start":
                self._usage.add(event["message"].get("usage"))
            case "content_block_start":
                self._usage.block(event.get("content_block"))
            case "message_delta":
                self._usage.add(event.get("usage"))
                reason = (event.get("delta") or {}).get("stop_reason")
                self._stop_reason = reason or self._stop_reason
            case "message_stop":
                self._complete = True

    def _note_invalid(self, event: Any) -> None:
        """Verbatim, the client judges the rest of the stream; the usage is still counted."""
        if not self._verbatim:
            message = "The upstream's stream is not a Messages API stream."
            self.broken(ProxyError(FailureKind.CONNECTION_LOST, message))
        elif isinstance(event, dict):
            if event.get("type") == "message_delta":
                self._usage.add(event.get("usage"))
            elif event.get("type") == "message_stop":
                self._complete = True


def _start_of(received: bytes, frames: list[bytes], number: int) -> int:
    """Position of a frame: the same bytes may stand in one before it."""
    position = 0
    for frame in frames[:number]:
        position = received.index(frame, position) + len(frame)
    return received.index(frames[number], position)


def _is_message(value: Any) -> bool:
    content: Any = value.get("content") if isinstance(value, dict) else None
    return (
        isinstance(content, list)
        and all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in content)
        and isinstance(value.get("id"), str)
    )
