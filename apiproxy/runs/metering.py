"""Usage charged for a run: the upstream's counts, and estimates of missing ones."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Step, Usage
from apiproxy.core.turns import Turn
from apiproxy.engines.base import Batch, Broken, Completed, Outcome, Stopped
from apiproxy.engines.stream.output_texts import output_texts, utf8_bytes

logger = logging.getLogger(__name__)

_BYTES_PER_TOKEN = 2
"""For the output of a cut-off answer: an upper bound of its tokens, and about twice the real number for most texts."""

Price = Callable[[Turn, Usage], Usage]
Estimate = Callable[[Turn], Awaitable[Usage]]


class Meter:
    """Usage of one run, over all its attempts.

    A request that was sent upstream is charged: the upstream bills its input even if the client leaves before the first
    event. Requests that the upstream rejected, or that never reached it, are free.
    """

    def __init__(self, turn: Turn, *, price: Price, estimate: Estimate) -> None:
        self._turn = turn
        self._price = price
        self._estimate = estimate
        self._output_bytes = 0
        self._lost_attempts = 0
        self.request_sent = False
        """True if this attempt has sent its upstream request."""
        self.handed_over = False
        """True if this attempt's worker has the turn: from then on the request may be sent."""
        self.output_chars = 0

    def add(self, batch: Batch) -> None:
        """Count the output in these events; all bytes if none of them could be read."""
        if not batch.events:
            self.output_chars += len(batch.raw)
            self._output_bytes += len(batch.raw)
        for event in batch.events:
            for text in output_texts(event):
                self.output_chars += len(text)
                self._output_bytes += utf8_bytes(text)

    def on_step(self, step: Step) -> None:
        """Note a step of an agent."""

    def begin_attempt(self) -> None:
        """Reset the state of the attempt before."""
        self.request_sent = self.handed_over = False

    def hand_over(self, *, stopped: bool) -> bool:
        """Note that the turn goes to its worker now; False if it may not, because the run was stopped."""
        self.handed_over = not stopped
        return self.handed_over

    def on_sent(self, then: Callable[[], None]) -> Callable[[], None]:
        """Callback for `EngineRequest.on_sent` that notes the request and calls `then`."""

        def sent() -> None:
            self.request_sent = True
            then()

        return sent

    def add_lost_attempt(self, outcome: Outcome) -> None:
        """Charge the input of an attempt that failed before its first event and is retried."""
        self._lost_attempts += self._is_billed(outcome)

    async def usage(self, outcome: Outcome | None = None) -> Usage:
        """Total usage of the run. outcome=None: the last attempt got no answer."""
        usage = Usage() if outcome is None else self._with_output(outcome)
        attempts = self._lost_attempts
        if outcome is not None and self._is_billed(outcome):
            reported = outcome.usage
            if not reported.prompt_tokens or reported.estimated:
                usage = _with_input(usage, await self._estimate(self._turn))
        if attempts:
            usage = _plus(usage, await self._estimate(self._turn), attempts)
        if outcome is None and not attempts:
            return usage
        return self._price(self._turn, usage)

    async def usage_after_crash(self, error: ProxyError) -> Usage:
        """Usage of a run that crashed in the gateway: as after a lost connection. Never raises."""
        try:
            return await self.usage(Broken(error=error, usage=Usage()))
        except Exception:  # the crash may have been in here; the client must still get an answer
            logger.exception("run.not_charged", extra={"reqId": self._turn.id})
            return Usage()

    def _with_output(self, outcome: Outcome) -> Usage:
        """The outcome's counts; the output estimated from the events where the final count is missing."""
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
        """True if the upstream bills the input of an attempt with this outcome."""
        match outcome:
            case Completed():
                return True
            case Stopped():
                return self.request_sent
            case Broken(error=error, unsent=unsent):
                rejected = error.upstream is not None or error.kind is FailureKind.INVALID_REQUEST
                return self.request_sent and not unsent and not rejected


_INPUT_COUNTS = tuple(field.name for field in fields(Usage) if field.name.endswith("input_tokens"))


def _with_input(usage: Usage, estimate: Usage) -> Usage:
    """The usage with its input estimated, unless the upstream has reported more."""
    if estimate.prompt_tokens <= usage.prompt_tokens:
        return replace(usage, estimated=True)
    return _changed(usage, {name: getattr(estimate, name) for name in _INPUT_COUNTS})


def _plus(usage: Usage, estimate: Usage, times: int) -> Usage:
    return _changed(usage, {name: getattr(usage, name) + times * getattr(estimate, name) for name in _INPUT_COUNTS})


def _changed(usage: Usage, counts: Mapping[str, Any]) -> Usage:
    return replace(usage, estimated=True, **counts)
