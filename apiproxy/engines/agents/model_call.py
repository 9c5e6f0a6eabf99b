"""One model call of an agent run: its state and what it is charged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Step, Usage
from apiproxy.engines.agents.model_request import ModelRequest
from apiproxy.engines.base import Broken, Completed, Outcome, Stopped
from apiproxy.engines.http.stream import EventStream
from apiproxy.engines.stream.output_texts import output_texts, utf8_bytes

MIN_OUTPUT_TOKENS = 1_024
"""A call that can afford fewer is refused. Also the API's smallest thinking budget."""
_BYTES_PER_TOKEN = 2
"""For the output of a call that was cut off, as in `runs.metering`."""


class ModelCall:
    """One model call. End it with `end`, `rejected` or `lost`; `close` has no effect after them.

    body: to send, with a max_tokens that the budget pays for; cleared by `sent`. held: its highest cost in micro-USD.
    """

    def __init__(
        self,
        request: ModelRequest,
        step: Step,
        *,
        max_tokens: int,
        held: int,
        on_sent: Callable[[], None],
        settle: "Settle",
    ) -> None:
        self.max_tokens = max_tokens
        self.held = held
        self.lowered = max_tokens < request.max_tokens
        self.step = step
        self.body = _with_max_tokens(request, max_tokens)
        self._on_sent = on_sent
        self._settle_with = settle
        self._input = request.input
        self._stream = EventStream(verbatim=True)
        self._output_bytes = 0
        self._sent = False
        self._settled = False

    @property
    def over(self) -> bool:
        """True once the stream has failed or the call is settled: nothing of it may be passed on any more."""
        return self._settled or self._stream.outcome is not None

    @property
    def complete(self) -> bool:
        """True once `message_stop` has arrived."""
        return self._stream.complete

    def sent(self) -> None:
        """Note that the request is on its way: it may be billed from now on."""
        self._sent = True
        self.body = {}
        self._on_sent()

    def received(self, data: bytes) -> None:
        """Count the usage in bytes of the stream."""
        batch = self._stream.feed(data)
        for event in batch.events if batch is not None else ():
            self._output_bytes += sum(map(utf8_bytes, output_texts(event)))

    def received_whole(self, body: bytes) -> None:
        """Count the usage in an answer that is not streamed."""
        batch = self._stream.whole(body)
        for event in batch.events if batch is not None else ():
            self._output_bytes += sum(map(utf8_bytes, output_texts(event)))
        self._settle()

    def end(self) -> None:
        """The upstream has closed the response."""
        if self._stream.outcome is None:
            self._stream.end()
        self._settle()

    def rejected(self, error: ProxyError) -> None:
        """The upstream has answered with an error."""
        self._stream.broken(error)
        self._settle()

    def lost(self, error: ProxyError, *, unsent: bool) -> None:
        """The connection to the upstream has failed."""
        self._stream.broken(error, unsent=unsent)
        self._settle()

    def close(self) -> None:
        """The CLI has left, or the run is over."""
        if not self._settled:
            self._stream.stopped()
            self._settle()

    def _settle(self) -> None:
        if self._settled:
            return
        self._settled = True
        outcome = self._stream.outcome
        assert outcome is not None
        self._settle_with(self, outcome, self._charged(outcome))

    def _charged(self, outcome: Outcome) -> Usage | None:
        """Counts of the upstream; missing ones are estimated upwards."""
        usage = outcome.usage
        final = isinstance(outcome, Completed) and usage.output_tokens and not usage.estimated
        if not final:
            seen = min(self.max_tokens, -(-self._output_bytes // _BYTES_PER_TOKEN))
            if seen > usage.output_tokens:
                usage = replace(usage, output_tokens=seen, estimated=True)
        if self._is_billed(outcome) and (not usage.prompt_tokens or outcome.usage.estimated):
            usage = _with_input(usage, self._input)
        return None if usage == Usage() else usage

    def _is_billed(self, outcome: Outcome) -> bool:
        """True if the upstream bills the input."""
        match outcome:
            case Completed():
                return True
            case Stopped():
                return self._sent
            case Broken(error=error, unsent=unsent):
                rejected = error.upstream is not None or error.kind is FailureKind.INVALID_REQUEST
                return self._sent and not unsent and not rejected


def _with_input(usage: Usage, estimate: Usage) -> Usage:
    """The usage with the estimated input, unless the upstream has reported more."""
    if estimate.prompt_tokens <= usage.prompt_tokens:
        return replace(usage, estimated=True)
    return replace(
        usage,
        estimated=True,
        input_tokens=estimate.input_tokens,
        cache_read_input_tokens=0,
        cache_creation_input_tokens=estimate.cache_creation_input_tokens,
        cache_creation_1h_input_tokens=estimate.cache_creation_1h_input_tokens,
    )


def _with_max_tokens(request: ModelRequest, max_tokens: int) -> dict[str, Any]:
    """The body with this `max_tokens`, and a thinking budget below it."""
    if max_tokens == request.max_tokens:
        return request.body
    body = {**request.body, "max_tokens": max_tokens}
    if thinking_budget(request) >= max_tokens:
        body["thinking"] = {**body["thinking"], "budget_tokens": max(MIN_OUTPUT_TOKENS, max_tokens // 2)}
    return body


def thinking_budget(request: ModelRequest) -> int:
    """The request's `thinking.budget_tokens`, 0 without one."""
    thinking = request.body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return budget if type(budget) is int and budget > 0 else 0


Settle = Callable[[ModelCall, Outcome, Usage | None], None]
"""Called once with the outcome and the usage to charge; None if the call is free."""
