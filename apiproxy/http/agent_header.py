"""Response header about the run of an agent."""

from typing import TypeVar

from django.http import HttpResponseBase

from apiproxy.core.events import Cancelled, Failed, Finished, RunEvent
from apiproxy.core.turns import Turn

AGENT_HEADER = "x-proxy-agent"

_ResponseT = TypeVar("_ResponseT", bound=HttpResponseBase)


def with_agent(response: _ResponseT, turn: Turn, ending: RunEvent | None = None) -> _ResponseT:
    """Add the header to the response of an agent. ending: of the run, None while it lasts."""
    if turn.agent is not None:
        used = agent_usage(ending)
        response[AGENT_HEADER] = "; ".join([turn.agent.name, *(f"{name}={value}" for name, value in used.items())])
    return response


def agent_usage(ending: RunEvent | None) -> dict[str, str]:
    """Model calls of a run that has ended, and their cost in USD if it is known."""
    if not isinstance(ending, Finished | Failed | Cancelled):
        return {}
    usage = ending.usage
    calls = {"calls": str(sum(not entry.apart for entry in usage.iterations))}
    return calls if usage.cost_usd is None else {**calls, "cost": _decimal(usage.cost_usd)}


def _decimal(usd: float) -> str:
    """Plain decimal number, to a millionth."""
    return f"{usd:.6f}".rstrip("0").rstrip(".")
