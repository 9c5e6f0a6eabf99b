"""The response header about an agent's run."""

from dataclasses import replace

import pytest
from django.http import HttpResponse

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Failed, Finished, Iteration, RunEvent, Usage
from apiproxy.http.agent_header import AGENT_HEADER, with_agent
from tests.support.agents import agent_spec
from tests.support.runs import turn_of

USED = Usage(cost_usd=0.031, iterations=(Iteration(type="message"),) * 4)
BUDGET = ProxyError(FailureKind.AGENT_BUDGET, "spent")
TURN = replace(turn_of("hi"), agent=agent_spec())


@pytest.mark.parametrize(
    ("ending", "value"),
    [
        (Finished(1.0, "end_turn", USED), "support-bot@3; calls=4; cost=0.031"),
        (Failed(1.0, BUDGET, replace(USED, cost_usd=1e-06)), "support-bot@3; calls=4; cost=0.000001"),
        (Finished(1.0, "end_turn", replace(USED, cost_usd=None)), "support-bot@3; calls=4"),
        (None, "support-bot@3"),
    ],
)
def test_tell_agent_calls_and_cost(ending: RunEvent | None, value: str) -> None:
    assert with_agent(HttpResponse(), TURN, ending)[AGENT_HEADER] == value


def test_say_nothing_about_models() -> None:
    assert AGENT_HEADER not in with_agent(HttpResponse(), turn_of("hi"), Finished(1.0, "end_turn", USED))
