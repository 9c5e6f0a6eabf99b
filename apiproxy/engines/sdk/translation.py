"""Translation of the CLI's messages of a turn into stream events and an outcome. Pure."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent, Usage
from apiproxy.engines.base import Broken, Completed, Outcome, Stopped
from apiproxy.engines.sdk.errors import failure_of, was_unsent, with_request_id, without_events
from apiproxy.engines.stream.block_indices import BlockIndices
from apiproxy.engines.stream.counts import clamp_event
from apiproxy.engines.stream.usage import UsageFold
from apiproxy.engines.stream.validation import StreamValidator

_WITH_USAGE = ("message_start", "message_delta")


class Translation:
    """State of one turn.

    `message_delta` and `message_stop` are held back until the `result`: the CLI ends a stream that the upstream cut off
    with synthetic ones, which only the result reveals (their `message_delta` has no stop reason). A turn has one
    message: if another begins, the turn ends before it and without a result, so the worker is not used again.
    """

    def __init__(self, *, model: str) -> None:
        self.outcome: Outcome | None = None
        self._model = model
        self._held: list[StreamEvent] = []
        self._usage = UsageFold()
        self._indices = BlockIndices()
        self._validator = StreamValidator()
        self._started = False
        self._failing = False
        self._request_id: object = None
        self._counts_clamped = False

    def feed(self, message: Mapping[str, Any], *, exact_error: ProxyError | None = None) -> list[StreamEvent]:
        """Events for the client after this message of the CLI; sets `outcome` at the end of the turn."""
        if self.outcome is not None:
            return []
        match message.get("type"):
            case "stream_event":
                return self._event(message.get("event"))
            case "assistant":
                if _is_synthetic_error(message):
                    self._failing, self._request_id = True, message.get("request_id")
                return []
            case "result":
                return self._result(message, exact_error)
        return []

    def ended(self, error: ProxyError | None = None) -> list[StreamEvent]:
        """Remaining events after the process has ended: a message whose end was seen is complete.

        error: why the process was killed; None if it died.
        """
        stop_reason = self._stop_reason()
        if stop_reason is not None:
            self.outcome = Completed(stop_reason=stop_reason, usage=self.usage())
            return self._release()
        self.broken(error or ProxyError(FailureKind.WORKER_DIED, "The worker process died."))
        return []

    def broken(self, error: ProxyError) -> None:
        """End the turn with this error."""
        self.outcome = Broken(error=error, usage=self.usage())

    def stopped(self) -> None:
        """End the turn because `stop` was called."""
        self.outcome = Stopped(usage=self.usage())

    def usage(self) -> Usage:
        """The upstream's counts so far; estimated if some were out of range."""
        return self._usage.usage(estimated=self._counts_clamped)

    def _event(self, event: Any) -> list[StreamEvent]:
        if isinstance(event, dict) and event.get("type") in _WITH_USAGE:
            event, sane = clamp_event(event)
            self._counts_clamped = self._counts_clamped or not sane
        event = self._indices.renumber(event)
        if not self._validator.accepts(event):
            return self._invalid_event(event)
        kind = event["type"]
        if kind == "content_block_delta":
            return [event]
        if kind == "message_start":
            self._started = True
            self._usage.add(event["message"].get("usage"))
        elif kind == "message_delta":
            self._usage.add(event.get("usage"))
            self._held.append(event)
            return []
        elif kind == "message_stop":
            self._held.append(event)
            return []
        elif kind == "content_block_start":
            self._usage.block(event.get("content_block"))
        elif kind == "content_block_stop" and self._failing:
            return []  # added by the CLI: the upstream never closed that block
        return [event]

    def _invalid_event(self, event: Any) -> list[StreamEvent]:
        """End the turn: the CLI has sent a second request, or the stream is invalid."""
        again = isinstance(event, dict) and event.get("type") == "message_start"
        if again and (stop_reason := self._stop_reason()) is not None:
            self.outcome = Completed(stop_reason=stop_reason, usage=self.usage())
            return self._release()
        self.broken(ProxyError(FailureKind.CONNECTION_LOST, "The upstream's stream is not a Messages API stream."))
        return []

    def _result(self, result: Mapping[str, Any], exact_error: ProxyError | None) -> list[StreamEvent]:
        stop_reason = self._stop_reason()
        if stop_reason is None:
            error = None if self._started else without_events(result)
            error = with_request_id(error or failure_of(result, exact_error, model=self._model), self._request_id)
            self.outcome = Broken(error=error, usage=self.usage(), unsent=was_unsent(result))
            return []
        self.outcome = Completed(stop_reason=stop_reason, usage=self.usage())
        return self._release()

    def _release(self) -> list[StreamEvent]:
        held, self._held = self._held, []
        if held[-1]["type"] != "message_stop":
            held.append({"type": "message_stop"})
        return held

    def _stop_reason(self) -> str | None:
        for event in reversed(self._held):
            if event["type"] == "message_delta" and (reason := (event.get("delta") or {}).get("stop_reason")):
                return str(reason)
        return None


def _is_synthetic_error(message: Mapping[str, Any]) -> bool:
    return bool(message.get("is_api_error_message")) and message.get("message", {}).get("stop_reason") != "refusal"
