"""From the CLI's messages of one turn to the upstream's stream events and an outcome. Pure; the transport feeds it."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent, Usage
from apiproxy.engines.base import Broken, Completed, Outcome, Stopped
from apiproxy.engines.sdk.counts import bounded_event
from apiproxy.engines.sdk.errors import failure_of, was_unsent
from apiproxy.engines.sdk.usage import UsageFold
from apiproxy.engines.sdk.validation import StreamValidator

_WITH_USAGE = ("message_start", "message_delta")


class Translation:
    """The fold of one turn's messages.

    `message_delta` and `message_stop` are held back until the `result`: a stream that the upstream cut ends with
    synthetic ones, and only the result tells (its `message_delta` has no stop reason). A turn has one message: should
    another begin, the turn is over before it, and without its result, so the worker is not used again.
    """

    def __init__(self, *, model: str) -> None:
        self.outcome: Outcome | None = None
        self._model = model
        self._held: list[StreamEvent] = []
        self._usage = UsageFold()
        self._shape = StreamValidator()
        self._failing = False
        self._absurd_counts = False

    def feed(self, message: Mapping[str, Any], *, exact_error: ProxyError | None = None) -> list[StreamEvent]:
        """The events that may go to the client after this message of the CLI; sets `outcome` at the turn's end."""
        if self.outcome is not None:
            return []
        match message.get("type"):
            case "stream_event":
                return self._event(message.get("event"))
            case "assistant":
                self._failing = self._failing or _is_synthetic_error(message)
                return []
            case "result":
                return self._result(message, exact_error)
        return []

    def ended(self, error: ProxyError | None = None) -> list[StreamEvent]:
        """The events that remain when the process is gone: a message whose end was seen is complete.

        error: why it was ended; None where it died.
        """
        stop_reason = self._stop_reason()
        if stop_reason is not None:
            self.outcome = Completed(stop_reason=stop_reason, usage=self.usage())
            return self._release()
        self.broken(error or ProxyError(FailureKind.WORKER_DIED, "The worker process died."))
        return []

    def broken(self, error: ProxyError) -> None:
        """Ends the turn with this error."""
        self.outcome = Broken(error=error, usage=self.usage())

    def stopped(self) -> None:
        """Ends the turn because `stop` was called."""
        self.outcome = Stopped(usage=self.usage())

    def usage(self) -> Usage:
        """The upstream's counts so far, within what counts can be; estimated: some were not."""
        return self._usage.usage(estimated=self._absurd_counts)

    def _event(self, event: Any) -> list[StreamEvent]:
        if isinstance(event, dict) and event.get("type") in _WITH_USAGE:
            event, sane = bounded_event(event)
            self._absurd_counts = self._absurd_counts or not sane
        if not self._shape.fits(event):
            return self._misshapen(event)
        kind = event["type"]
        if kind == "content_block_delta":
            return [event]
        if kind == "message_start":
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
            return []  # the CLI's invention: the upstream never closed that block
        return [event]

    def _misshapen(self, event: Any) -> list[StreamEvent]:
        """The end of the turn: the CLI asks again, which is none of the client's business, or the upstream is lost."""
        again = isinstance(event, dict) and event.get("type") == "message_start"
        if again and (stop_reason := self._stop_reason()) is not None:
            self.outcome = Completed(stop_reason=stop_reason, usage=self.usage())
            return self._release()
        self.broken(ProxyError(FailureKind.CONNECTION_LOST, "The upstream's stream is not one of the Messages API."))
        return []

    def _result(self, result: Mapping[str, Any], exact_error: ProxyError | None) -> list[StreamEvent]:
        stop_reason = self._stop_reason()
        if stop_reason is None:
            error = failure_of(result, exact_error, model=self._model)
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
