"""Counts and limits of one agent run, over its model calls."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Literal

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import ProxyError
from apiproxy.core.events import Step, StepKind, Usage
from apiproxy.core.limits import MICRO
from apiproxy.core.prices import NO_PRICES, PriceTable
from apiproxy.engines.agents.model_call import MIN_OUTPUT_TOKENS, ModelCall, thinking_budget
from apiproxy.engines.agents.model_request import CallRefusedError, ModelRequest
from apiproxy.engines.agents.usage_sum import total_usage
from apiproxy.engines.base import Broken, Completed, Outcome, Stopped

_ATTEMPTS_PER_CALL = 3
"""The CLI's two retries of a call that the upstream refused; a program in the jail must not try for ever."""
_ENDING_REASONS = frozenset({"max_tokens", "model_context_window_exceeded", "refusal", "stop_sequence", "pause_turn"})
"""Stop reasons after which the run is over. The CLI would go on after some of them by itself."""

Price = Callable[[str, Usage], Usage]


class RunMeter:
    """Counts and limits of one agent run, on the event loop.

    price: adds the cost to the usage of a model. prices: of all models. sources: URLs and file ids that the client
    named (`model_request.named_sources`). context_window: of the model. on_step: called as a model call or the wait
    before a repeated one begins and ends. on_sent: called when the first request is on its way upstream.
    """

    def __init__(
        self,
        agent: AgentSpec,
        *,
        price: Price,
        prices: PriceTable = NO_PRICES,
        on_step: Callable[[Step], None],
        on_sent: Callable[[], None],
        sources: Collection[str] = (),
        context_window: int | None = None,
    ) -> None:
        self.agent = agent
        self.prices = prices
        self.sources = frozenset(sources)
        self.context_window = context_window
        self.exhausted: Literal["", "calls", "budget"] = ""
        self.upstream_error: ProxyError | None = None
        """Error of the last model call; None if it succeeded."""
        self.last_stop_reason = ""
        self._price = price
        self._on_step = on_step
        self._on_sent = on_sent
        self._sent = False
        self._attempts = 0
        self._counts = 0
        self._running: set[ModelCall] = set()
        self._billed: list[Usage] = []
        self._spent = 0
        self._failed_at: float | None = None

    @property
    def calls(self) -> int:
        """Model calls so far, without those that the upstream refused."""
        return len(self._billed) + len(self._running)

    @property
    def spent_micro_usd(self) -> int:
        """Cost of all calls that have ended."""
        return self._spent

    def usage(self) -> Usage:
        """Usage of all calls that have ended, priced, with an iteration for each."""
        return total_usage(self.agent.model, self._billed)

    def admit_count(self) -> None:
        """Admit a request of count_tokens, which is free. Raises CallRefusedError."""
        self._check_going_on()
        if self._counts >= self.agent.max_calls * _ATTEMPTS_PER_CALL:
            raise CallRefusedError("calls", "This run has counted tokens too often.")
        self._counts += 1

    def admit(self, request: ModelRequest) -> ModelCall:
        """Admit a model call with as much output as the rest of the budget pays for. Raises CallRefusedError."""
        self._check_going_on()
        agent = self.agent
        if self.calls >= agent.max_calls or self._attempts >= agent.max_calls * _ATTEMPTS_PER_CALL:
            self.exhausted = self.exhausted or "calls"
            raise CallRefusedError("calls", f"This run has made all of its {agent.max_calls} model calls.")
        max_tokens, held = self._affordable(request)
        self._attempts += 1
        now = time.time()
        if self._failed_at is not None:
            self._note_retry(now)
        step = Step(
            id=f"model_{self._attempts}",
            kind=StepKind.MODEL_CALL,
            name=agent.model,
            number=self.calls + 1,
            started_at=now,
        )
        call = ModelCall(request, step, max_tokens=max_tokens, held=held, on_sent=self._note_sent, settle=self._settle)
        self._running.add(call)
        self._on_step(call.step)
        return call

    def _note_sent(self) -> None:
        """Report the run's first upstream request."""
        if not self._sent:
            self._sent = True
            self._on_sent()

    def _settle(self, call: ModelCall, outcome: Outcome, usage: Usage | None) -> None:
        """Account for a call that has ended. usage: None if it is free, because the upstream refused it."""
        self._running.discard(call)
        priced = None
        if usage is not None:
            priced = self._price(self.agent.model, usage)
            self._billed.append(priced)
            self._spent += _micro_usd(priced)
        now = time.time()
        error = outcome.error if isinstance(outcome, Broken) else None
        self._failed_at = None if error is None else now
        if not isinstance(outcome, Stopped):
            self.upstream_error = error
        if isinstance(outcome, Completed):
            self.last_stop_reason = outcome.stop_reason
            if call.lowered and outcome.stop_reason == "max_tokens":
                self.exhausted = "budget"
        self._on_step(
            replace(
                call.step,
                ended_at=now,
                failed=error is not None,
                error="" if error is None else error.message,
                usage=priced,
            )
        )

    def _check_going_on(self) -> None:
        if self.last_stop_reason in _ENDING_REASONS:
            raise CallRefusedError("over", f"This run has ended with the stop reason {self.last_stop_reason}.")

    def _affordable(self, request: ModelRequest) -> tuple[int, int]:
        """`max_tokens` that the rest of the budget pays for, and the highest cost in micro-USD.

        Raises CallRefusedError.
        """
        budget = self.agent.budget_usd
        if budget is None:
            return request.max_tokens, request.most_micro_usd or 0
        base, most = request.base_micro_usd, request.most_micro_usd
        if base is None or most is None:
            raise self._spent_error(f"The model {self.agent.model} has no price, and this agent has a budget.")
        if request.unpriced:
            raise CallRefusedError("request", f"{request.unpriced}: it has no price, and this agent has a budget.")
        left = int(budget * MICRO) - self._spent - sum(call.held for call in self._running)
        if most <= left:
            return request.max_tokens, most
        fits = max(0, left - base - 2) * request.max_tokens // max(1, most - base)
        least = MIN_OUTPUT_TOKENS + (1 if thinking_budget(request) else 0)
        if fits < min(least, request.max_tokens):
            raise self._spent_error(f"The budget of this run ({budget} USD) is exhausted.")
        return min(fits, request.max_tokens), left

    def _spent_error(self, message: str) -> CallRefusedError:
        self.exhausted = "budget"
        return CallRefusedError("budget", message)

    def _note_retry(self, now: float) -> None:
        assert self._failed_at is not None
        step = Step(
            id=f"retry_{self._attempts}",
            kind=StepKind.RETRY,
            name=self.agent.model,
            number=self.calls + 1,
            started_at=self._failed_at,
            ended_at=now,
            error="" if self.upstream_error is None else self.upstream_error.message,
        )
        self._on_step(replace(step, ended_at=None))
        self._on_step(step)
        self._failed_at = None


def _micro_usd(usage: Usage) -> int:
    """Cost, rounded up."""
    return 0 if usage.cost_usd is None else -int(-usage.cost_usd * MICRO // 1)
