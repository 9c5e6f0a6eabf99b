"""Prometheus metrics of agents, by agent and tool. Label values are bounded, see `tracing.model_labels`."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from apiproxy.core.events import Step, StepKind
from observability.tracing.model_labels import ToolNames
from observability.tracing.recorder import Listener
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import EndReason

_PREFIX = "claude_proxy_agent"
_TOOL_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_PAUSED = "paused"
"""Outcome of a run that stopped at its limit of calls or time, and may be continued."""


class AgentMetrics(Listener):
    """Counters and histograms of agent runs, updated as a listener."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._names = ToolNames()
        self._runs = Counter(
            f"{_PREFIX}_runs", "Runs of agents that ended, refused ones included.", ("agent", "outcome"),
            registry=registry,
        )  # fmt: skip
        self._model_calls = Counter(
            f"{_PREFIX}_model_calls", "Model calls of agent runs that ended.", ("agent",), registry=registry
        )
        self._tool_calls = Counter(
            f"{_PREFIX}_tool_calls", "Tool calls of agents that ended.", ("agent", "tool", "outcome"), registry=registry
        )
        self._tool_duration = Histogram(
            f"{_PREFIX}_tool_duration_seconds", "Duration of tool calls, without denied ones.", ("agent", "tool"),
            buckets=_TOOL_S, registry=registry,
        )  # fmt: skip
        self._cost = Counter(
            f"{_PREFIX}_cost_usd", "Cost of agent runs in US dollars: an estimate.", ("agent",), registry=registry
        )

    def stepped(self, trace: ActiveTrace, step: Step) -> None:
        """Count a tool call that has ended."""
        agent = trace.turn.agent
        if agent is None or step.ended_at is None:
            return
        match step.kind:
            case StepKind.DENIED:
                self._count_tool(agent.slug, step.name, "denied")
            case StepKind.TOOL_CALL:
                if not step.failed:
                    self._names.learn(agent.slug, step.name)
                self._count_tool(agent.slug, step.name, "failed" if step.failed else "completed")
                labels = self._names.labels(agent.slug, step.name)
                self._tool_duration.labels(*labels).observe(max(0.0, step.ended_at - step.started_at))

    def ended(self, trace: ActiveTrace) -> None:
        agent, log = trace.turn.agent, trace.steps
        if agent is None or log is None:
            return
        slug = self._names.agent_label(agent.slug)
        paused = trace.end_reason is EndReason.COMPLETED and trace.stop_reason == "pause_turn"
        reason = trace.end_reason.value if trace.end_reason else ""
        self._runs.labels(slug, _PAUSED if paused else reason).inc()
        self._model_calls.labels(slug).inc(max(0, log.model_calls))
        self._cost.labels(slug).inc(max(0.0, trace.usage.cost_usd or 0.0))
        for step in log.steps():
            if step.kind is StepKind.TOOL_CALL and step.ended_at is None:
                self._count_tool(agent.slug, step.name, "unfinished")

    def _count_tool(self, agent: str, tool: str, outcome: str) -> None:
        self._tool_calls.labels(*self._names.labels(agent, tool), outcome).inc()
