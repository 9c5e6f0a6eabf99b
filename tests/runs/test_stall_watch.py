"""Silence of an agent's run: a stall while the model is asked, none while a tool runs."""

import asyncio
import time
from dataclasses import replace

import pytest

from apiproxy.core.events import Step, StepKind
from apiproxy.runs.run_limits import RunLimits
from apiproxy.runs.stall_watch import StallWatch
from tests.support.agents import agent_spec
from tests.support.runs import limits

TOOL = Step(id="toolu_1", kind=StepKind.TOOL_CALL, name="agent/Bash", number=1, started_at=1.0)


async def test_report_silence_after_limit() -> None:
    began = time.monotonic()

    await asyncio.wait_for(StallWatch(0.1).watch(lambda: False), 5)

    assert time.monotonic() - began >= 0.1


async def test_wait_for_tool_of_any_length() -> None:
    watch = StallWatch(0.05)
    watch.on_step(TOOL)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.watch(lambda: False), 0.4)


async def test_count_silence_from_end_of_tool() -> None:
    watch = StallWatch(0.1)
    watch.on_step(TOOL)
    await asyncio.sleep(0.2)
    watch.on_step(replace(TOOL, ended_at=2.0))
    began = time.monotonic()

    await asyncio.wait_for(watch.watch(lambda: False), 5)

    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize(("seconds", "expected"), [(300, 360.0), (7_200, 3_600.0)])
def test_limit_duration_by_agent_and_settings(seconds: int, expected: float) -> None:
    general: RunLimits = limits(max_duration_s=3_600)

    assert general.of(agent_spec(max_duration_s=seconds)).max_duration_s == expected
    assert general.of(None) is general
