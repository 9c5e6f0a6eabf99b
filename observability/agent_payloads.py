"""Agents in the dashboard's WebSocket messages. Pure."""

from typing import TypedDict

from observability.tracing.trace_builder import ActiveTrace


class AgentProgress(TypedDict):
    """Position of a running agent.

    name: `slug@version`. call: number of the current model call, from 1; 0 before the first. kind, doing: kind and name
    of the latest step that has not ended, empty if there is none. parallel: running tool calls. cost: of the model
    calls that have ended. changes: increases whenever a step begins or ends.
    """

    name: str
    call: int
    max_calls: int
    kind: str
    doing: str
    parallel: int
    tools: int
    cost: float | None
    changes: int


def agent_progress(trace: ActiveTrace) -> AgentProgress | None:
    """Position of the trace's agent, None if no agent answers it."""
    agent, steps = trace.turn.agent, trace.steps
    if agent is None or steps is None:
        return None
    progress = steps.progress()
    return {
        "name": trace.agent,
        "call": progress.call,
        "max_calls": agent.max_calls,
        "kind": progress.kind,
        "doing": progress.name,
        "parallel": progress.parallel,
        "tools": progress.tool_calls,
        "cost": progress.cost_usd,
        "changes": progress.changes,
    }
