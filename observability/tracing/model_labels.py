"""Cardinality limits for labels, since clients can send arbitrary model names, and models call arbitrary tools."""

from apiproxy.core.text import storable
from observability.models import NAME_CHARS
from observability.stats.rollup import OTHER_MODEL

MAX_MODELS = 64
MAX_TOOLS = 256


class ModelNames:
    """Models known from upstream responses. All others are counted as `other`."""

    def __init__(self, limit: int = MAX_MODELS) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def learn(self, model: str) -> None:
        model = storable(model, NAME_CHARS)
        if model and model != OTHER_MODEL and len(self._known) < self._limit:
            self._known.add(model)

    def label(self, model: str) -> str:
        model = storable(model, NAME_CHARS)
        return model if model in self._known else OTHER_MODEL


class ToolNames:
    """Tools that an agent has called with success, as `server/tool`. All others are counted as `other`.

    Models may call tools by invented names, and MCP servers may name theirs as they like.
    """

    def __init__(self, agents: int = MAX_MODELS, tools: int = MAX_TOOLS) -> None:
        self._max_agents = agents
        self._max_tools = tools
        self._agents: set[str] = set()
        self._tools: set[tuple[str, str]] = set()

    def learn(self, agent: str, tool: str) -> None:
        pair = self.agent_label(agent), storable(tool, NAME_CHARS)
        if pair[1] and len(self._tools) < self._max_tools:
            self._tools.add(pair)

    def agent_label(self, agent: str) -> str:
        """Label of an agent; `other` for those beyond the limit."""
        agent = storable(agent, NAME_CHARS)
        if agent and len(self._agents) < self._max_agents:
            self._agents.add(agent)
        return agent if agent in self._agents else OTHER_MODEL

    def labels(self, agent: str, tool: str) -> tuple[str, str]:
        """Labels of an agent and its tool."""
        pair = self.agent_label(agent), storable(tool, NAME_CHARS)
        return pair if pair in self._tools else (pair[0], OTHER_MODEL)
