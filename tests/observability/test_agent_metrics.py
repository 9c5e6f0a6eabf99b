"""Metrics of agents by agent and tool, of a bounded number whatever models and servers call their tools."""

from typing import Any

import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Event, Finished, StepKind
from observability.metrics import Metrics
from observability.tracing.model_labels import MAX_MODELS, MAX_TOOLS
from observability.tracing.recorder import Recorder
from tests.observability.builders import (
    NOW,
    USAGE,
    agent_course,
    agent_steps,
    course,
    failed,
    left,
    make_agent_turn,
    make_turn,
    opening,
    step,
)
from tests.observability.test_metrics import make, read
from tests.support.agents import agent_spec

AGENT = ("agent", "support-bot")


def play(recorder: Recorder, *events: Event, **turn: Any) -> None:
    started = make_agent_turn(**turn)
    for event in events:
        recorder.on_event(started, event)


def of_agents(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = read(metrics)
    return {(name.removeprefix("agent_"), labels): it for (name, labels), it in found.items() if name[:6] == "agent_"}


def test_count_runs_calls_and_cost_by_agent() -> None:
    metrics, recorder = make()
    play(recorder, *agent_course())
    found = of_agents(metrics)
    assert found["runs_total", (AGENT, ("outcome", "completed"))] == 1
    assert found["model_calls_total", (AGENT,)] == 2
    assert found["cost_usd_total", (AGENT,)] == pytest.approx(USAGE.cost_usd)
    search = ("tool", "handbook/search")
    assert found["tool_calls_total", (AGENT, ("outcome", "completed"), search)] == 1
    assert found["tool_calls_total", (AGENT, ("outcome", "failed"), ("tool", "other"))] == 1
    assert found["tool_duration_seconds_count", (AGENT, search)] == 1
    assert found["tool_duration_seconds_sum", (AGENT, search)] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (Finished(NOW + 1, "pause_turn", USAGE), "paused"),
        (failed(kind=FailureKind.AGENT_BUDGET), "agent_budget"),
        (failed(kind=FailureKind.WORKER_DIED), "worker_died"),
        (failed(kind=FailureKind.RATE_LIMITED), "refused"),
        (left(), "client_disconnect"),
    ],
)
def test_name_outcome_of_run(ending: Event, outcome: str) -> None:
    metrics, recorder = make()
    play(recorder, *agent_course(ending=ending))
    assert of_agents(metrics)["runs_total", (AGENT, ("outcome", outcome))] == 1


def test_count_denied_and_unfinished_tool_calls() -> None:
    metrics, recorder = make()
    play(recorder, *agent_course())  # so that the tool is known
    begun = step("t9", StepKind.TOOL_CALL, "handbook/search", at=NOW)
    denied = step("t8", StepKind.DENIED, "handbook/search", at=NOW, length_s=0.1, failed=True)
    play(recorder, *opening(), denied, begun, left())
    found, search = of_agents(metrics), ("tool", "handbook/search")
    assert found["tool_calls_total", (AGENT, ("outcome", "denied"), search)] == 1
    assert found["tool_calls_total", (AGENT, ("outcome", "unfinished"), search)] == 1
    assert found["tool_duration_seconds_count", (AGENT, search)] == 1


def test_count_tool_calls_while_the_run_goes_on() -> None:
    metrics, recorder = make()
    play(recorder, *opening(), *agent_steps())
    assert ("tool_calls_total", (AGENT, ("outcome", "completed"), ("tool", "handbook/search"))) in of_agents(metrics)


def test_leave_other_models_out() -> None:
    metrics, recorder = make()
    turn = make_turn()
    for event in course():
        recorder.on_event(turn, event)
    assert of_agents(metrics) == {}


def test_bound_labels_of_invented_tools_and_many_agents() -> None:
    metrics, recorder = make()
    for number in range(MAX_TOOLS + 50):
        name = f"server/{number}\ud800"
        call = step(f"t{number}", StepKind.TOOL_CALL, name, at=NOW, length_s=0.1)
        invented = step(f"i{number}", StepKind.TOOL_CALL, f"invented/{number}", at=NOW, length_s=0.1, failed=True)
        play(recorder, *opening(), call, invented, left(), agent=agent_spec(slug=f"agent-{number}"))
    found = of_agents(metrics)
    tools = {labels for name, labels in found if name == "tool_calls_total"}
    assert len(tools) <= 2 * MAX_TOOLS + 10
    assert len({dict(labels)["agent"] for _, labels in found}) == MAX_MODELS + 1
    assert not any("invented" in value for _, labels in found for _, value in labels)
