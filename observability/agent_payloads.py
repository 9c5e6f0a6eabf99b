"""Agents and their MCP servers in the dashboard's WebSocket messages. Pure."""

from collections.abc import Iterable
from typing import TypedDict

from apiproxy.core.mcp_status import McpServerStatus
from observability.tracing.redact import Redactor
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


class McpRow(TypedDict):
    """Last result of an MCP server. at: Unix time. error: empty if it was a success. last_error: the last failure."""

    name: str
    transport: str
    process: str
    at: float
    error: str
    last_error: str
    last_error_at: float | None
    tools: list[str]


def mcp_row(status: McpServerStatus, redactor: Redactor, *, process: str) -> McpRow:
    """Row of an MCP server, without credentials."""
    return {
        "name": status.name,
        "transport": status.transport,
        "process": process,
        "at": status.at,
        "error": redactor.text(status.error),
        "last_error": redactor.text(status.last_error),
        "last_error_at": status.last_error_at,
        "tools": list(status.tools),
    }


def newest_by_server(rows: Iterable[McpRow]) -> list[McpRow]:
    """Of several processes' rows, the newest of each server, by name."""
    newest: dict[str, McpRow] = {}
    for row in sorted(rows, key=lambda row: row["at"]):
        newest[row["name"]] = row
    return sorted(newest.values(), key=lambda row: row["name"])


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
