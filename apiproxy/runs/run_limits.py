"""Limits of a run, from the settings and its agent."""

from dataclasses import dataclass, replace

from apiproxy.core.agents import AgentSpec

_AGENT_SPARE_S = 60.0
"""For the start of an agent's worker and the end of its run, outside of its own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """Settings that limit a run."""

    stall_timeout_s: float
    max_duration_s: float
    max_output_chars: int
    upstream_retries: int

    def of(self, agent: AgentSpec | None) -> "RunLimits":
        """Limits of a run of the agent; its engine enforces the agent's own time, with some to spare here."""
        if agent is None:
            return self
        return replace(self, max_duration_s=min(self.max_duration_s, agent.max_duration_s + _AGENT_SPARE_S))
