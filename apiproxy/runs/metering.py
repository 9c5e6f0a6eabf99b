"""What a run is charged: the upstream's counts, and an estimate of those that it did not tell."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent, Usage
from apiproxy.core.turns import Turn
from apiproxy.engines.base import Broken, Completed, Outcome, Stopped

logger = logging.getLogger(__name__)

_BYTES_PER_TOKEN = 2
"""Of an answer that was broken off: at most about as many tokens as it had, for most texts twice as many."""

Price = Callable[[Turn, Usage], Usage]
"""The usage with its cost."""
Estimate = Callable[[Turn], Awaitable[Usage]]


class Meter:
    """The usage of one run, over all its attempts.

    A request that was sent upstream is never free: the upstream reads it, and bills that, even if the client leaves
    before the first event. Free are requests that the upstream refused, and those that never reached it.
    """

    def __init__(self, turn: Turn, *, price: Price, estimate: Estimate) -> None:
        self._turn = turn
        self._price = price
        self._estimate = estimate
        self._output_bytes = 0
        self._lost_attempts = 0
        self.asked = False
        """Whether this attempt has asked the upstream."""
        self.handed_over = False
        """Whether its worker has the turn: from then on the upstream may be asked."""
        self.output_chars = 0

    def add(self, events: Sequence[StreamEvent]) -> None:
        """Counts the output in these events."""
        for event in events:
            for text in _texts(event):
                self.output_chars += len(text)
                self._output_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def begin_attempt(self) -> None:
        """The attempt that begins now has no worker, and has not asked the upstream."""
        self.asked = self.handed_over = False

    def hand_over(self, *, stopped: bool) -> bool:
        """Whether the turn may go to its worker: not if the run was stopped."""
        self.handed_over = not stopped
        return self.handed_over

    def asks(self, then: Callable[[], None]) -> Callable[[], None]:
        """For `EngineRequest.on_asked`: notes it, and passes it on."""

        def asked() -> None:
            self.asked = True
            then()

        return asked

    def lose(self, outcome: Outcome) -> None:
        """The attempt failed before its first event and is made again: its input was read for nothing."""
        self._lost_attempts += self._is_billed(outcome)

    async def usage(self, outcome: Outcome | None = None) -> Usage:
        """All that the run is charged for. outcome None: there was no answer in the last attempt."""
        usage = Usage() if outcome is None else self._with_output(outcome)
        attempts = self._lost_attempts
        if outcome is not None and self._is_billed(outcome):
            told = outcome.usage
            if not told.prompt_tokens or told.estimated:
                usage = _with_input(usage, await self._estimate(self._turn))
        if attempts:
            usage = _plus(usage, await self._estimate(self._turn), attempts)
        if outcome is None and not attempts:
            return usage
        return self._price(self._turn, usage)

    async def usage_of_fault(self, error: ProxyError) -> Usage:
        """What the run is charged where the gateway itself failed: as much as after a lost connection. Never raises."""
        try:
            return await self.usage(Broken(error=error, usage=Usage()))
        except Exception:  # it may be what failed before; the client must get its answer all the same
            logger.exception("run.not_charged", extra={"reqId": self._turn.id})
            return Usage()

    def _with_output(self, outcome: Outcome) -> Usage:
        """The outcome's counts, with the output that was seen where the upstream has not told its final figure."""
        usage = outcome.usage
        if isinstance(outcome, Completed) and usage.output_tokens and not usage.estimated:
            return usage
        seen = -(-self._output_bytes // _BYTES_PER_TOKEN)
        most = self._turn.body.get("max_tokens")
        if type(most) is int and most > 0:
            seen = min(seen, most)
        if seen <= usage.output_tokens:
            return usage
        return replace(usage, output_tokens=seen, estimated=True)

    def _is_billed(self, outcome: Outcome) -> bool:
        """Whether the upstream bills the input of an attempt that ended like this."""
        match outcome:
            case Completed():
                return True
            case Stopped():
                return self.asked
            case Broken(error=error, unsent=unsent):
                refused = error.upstream is not None or error.kind is FailureKind.INVALID_REQUEST
                return self.asked and not unsent and not refused


def _texts(event: StreamEvent) -> list[str]:
    """What an event adds to the answer: text, thinking, or a tool's arguments."""
    delta = event.get("delta")
    if event["type"] != "content_block_delta" or not isinstance(delta, dict):
        return []
    return [delta[name] for name in ("text", "thinking", "partial_json") if isinstance(delta.get(name), str)]


_INPUT_COUNTS = tuple(field.name for field in fields(Usage) if field.name.endswith("input_tokens"))


def _with_input(usage: Usage, estimate: Usage) -> Usage:
    """The usage with the estimate of its input, unless the upstream has told more."""
    if estimate.prompt_tokens <= usage.prompt_tokens:
        return replace(usage, estimated=True)
    return _changed(usage, {name: getattr(estimate, name) for name in _INPUT_COUNTS})


def _plus(usage: Usage, estimate: Usage, times: int) -> Usage:
    return _changed(usage, {name: getattr(usage, name) + times * getattr(estimate, name) for name in _INPUT_COUNTS})


def _changed(usage: Usage, counts: Mapping[str, Any]) -> Usage:
    return replace(usage, estimated=True, **counts)
