"""Outcome of a run: from the CLI's `result` and what the relay counted. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Usage

PAUSED = "pause_turn"
ENDING_REASONS = frozenset({"max_tokens", "model_context_window_exceeded", "stop_sequence", "pause_turn", "refusal"})
"""Stop reasons of a model call that end the run. After some of them the CLI asks the model to go on, in a user message
of its own, which the relay refuses."""


class RunCounts(Protocol):
    """Counts of a run in the relay; see `metering.RunMeter`."""

    @property
    def exhausted(self) -> str: ...

    @property
    def upstream_error(self) -> ProxyError | None: ...

    def usage(self) -> Usage: ...


def ending_of(
    result: Mapping[str, Any] | None, *, agent: AgentSpec, counts: RunCounts, stop_reason: str, started: bool
) -> str | ProxyError:
    """Stop reason of a run's message, or its error.

    result: the CLI's, None if it ended without one. stop_reason: of the last model call, empty if it has none.
    started: whether the client has got a part of the message.
    """
    succeeded = result is not None and not result.get("is_error")
    if succeeded and stop_reason not in ENDING_REASONS:  # limits that only a program in the jail has hit do not count
        return _success(result or {}, agent, stop_reason)
    if counts.exhausted == "budget":
        return budget_spent(agent)
    if stop_reason in ENDING_REASONS:
        return stop_reason
    if counts.exhausted == "calls" or _out_of_turns(result):
        return PAUSED if started else _no_answer("calls")
    return _failure(result, agent, counts, stop_reason)


def budget_spent(agent: AgentSpec) -> ProxyError:
    """Error of a run whose next model call would exceed the agent's budget."""
    return ProxyError(
        FailureKind.AGENT_BUDGET,
        f"The run of the agent {agent.slug} has reached its budget of {agent.budget_usd} USD."
        if agent.budget_usd is not None
        else f"The run of the agent {agent.slug} has reached its budget.",
    )


def out_of_time(agent: AgentSpec) -> ProxyError:
    """Error of a run whose time was up before its first event."""
    return ProxyError(
        FailureKind.MAX_DURATION,
        f"The agent {agent.slug} did not answer within its limit of {agent.max_duration_s} seconds.",
    )


def _failure(
    result: Mapping[str, Any] | None, agent: AgentSpec, counts: RunCounts, stop_reason: str
) -> str | ProxyError:
    if result is None:
        if stop_reason == "end_turn" and agent.output_schema is None:
            return stop_reason  # its message was complete
        return ProxyError(FailureKind.WORKER_DIED, "The worker process of the agent died.")
    if counts.upstream_error is not None:
        return counts.upstream_error
    if result.get("api_error") or result.get("terminal_reason") == "api_error":
        return ProxyError(FailureKind.CONNECTION_LOST, "The connection to the upstream API was lost.")
    return _no_answer(str(result.get("terminal_reason") or result.get("subtype")))


def _success(result: Mapping[str, Any], agent: AgentSpec, stop_reason: str) -> str | ProxyError:
    if agent.output_schema is not None:
        if result.get("structured_output") is None:
            return ProxyError(
                FailureKind.AGENT_OUTPUT, f"The agent {agent.slug} did not answer in the form of its output schema."
            )
        return "end_turn"
    return stop_reason or _no_answer("no stop reason")


def _out_of_turns(result: Mapping[str, Any] | None) -> bool:
    return result is not None and result.get("subtype") == "error_max_turns"


def _no_answer(reason: str) -> ProxyError:
    return ProxyError(FailureKind.WORKER_DIED, f"The worker ended the agent's run without an answer ({reason[:200]}).")
