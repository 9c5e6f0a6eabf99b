"""Usage charged for runs of agents: what their engine counted, over all attempts."""

from dataclasses import replace

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Iteration, Step, StepKind, Usage
from apiproxy.core.turns import Turn
from apiproxy.engines.base import Broken, Completed
from apiproxy.runs.agent_metering import AgentMeter
from tests.support.agents import agent_spec
from tests.support.runs import turn_of

CALL = Usage(
    input_tokens=1_000,
    output_tokens=100,
    cost_usd=0.25,
    iterations=(Iteration(type="message", model="m", input_tokens=1_000, output_tokens=100),),
)
ERROR = ProxyError(FailureKind.WORKER_DIED, "gone")


def meter() -> AgentMeter:
    def price(turn: Turn, usage: Usage) -> Usage:
        raise AssertionError("the engine has priced each call")

    async def estimate(turn: Turn) -> Usage:
        raise AssertionError("the engine has counted each call")

    return AgentMeter(replace(turn_of("x", max_tokens=1), agent=agent_spec()), price=price, estimate=estimate)


async def test_charge_what_the_engine_counted() -> None:
    summed = replace(CALL, output_tokens=5_000)

    assert await meter().usage(Completed(stop_reason="end_turn", usage=summed)) == summed


async def test_charge_nothing_without_model_call() -> None:
    assert await meter().usage() == Usage()
    assert await meter().usage(Broken(error=ERROR, usage=Usage())) == Usage()


async def test_add_usage_of_lost_attempts() -> None:
    metered = meter()
    metered.begin_attempt()
    metered.add_lost_attempt(Broken(error=ERROR, usage=replace(CALL, estimated=True)))
    metered.begin_attempt()

    used = await metered.usage(Completed(stop_reason="end_turn", usage=CALL))

    assert (used.input_tokens, used.output_tokens, used.cost_usd) == (2_000, 200, 0.5)
    assert len(used.iterations) == 2
    assert used.estimated
    assert used.billed("input_tokens") == 2_000


async def test_charge_reported_calls_after_crash() -> None:
    metered = meter()
    metered.begin_attempt()
    step = Step(id="model_1", kind=StepKind.MODEL_CALL, name="m", number=1, started_at=1.0)
    metered.on_step(step)
    metered.on_step(replace(step, ended_at=2.0, usage=CALL))

    assert await metered.usage_after_crash(ERROR) == CALL
