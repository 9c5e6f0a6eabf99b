"""Models and agents as requests find them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind
from apiproxy.core.prices import Prices
from apiproxy.core.turns import EngineName

DEFAULT_MAX_OUTPUT_TOKENS = 32_000
"""For models not in the table: the lowest limit since Claude 4 (Opus 4 and 4.1).

The upstream rejects values above a model's limit.
Source: https://platform.claude.com/docs/en/about-claude/models/overview
"""

_M = TypeVar("_M", bound="ResolvedModel")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Reason why an agent cannot run. message: for clients; reason: for the operator, with names."""

    kind: FailureKind
    message: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model after alias resolution, or an agent.

    upstream_id: sent to the upstream, the short form of `id` if the request has that; "" for `id`. names: its id and
    aliases; of a pinned version of an agent also the agent's. prices: None if unknown. engine: the model's own, else
    that of the settings; `agents` for an agent, whose version is `agent` (None if there is no such version). Limits and
    prices of an agent are its model's. unavailable: set for an enabled agent that cannot run.
    """

    id: str
    max_output_tokens: int
    upstream_id: str = ""
    prices: Prices | None = None
    names: frozenset[str] = frozenset()
    enabled: bool = True
    engine: EngineName = "sdk"
    agent: AgentSpec | None = field(default=None, hash=False)
    unavailable: Unavailable | None = None

    @property
    def is_agent(self) -> bool:
        return self.engine == "agents"

    @property
    def inner_id(self) -> str:
        """The model that answers: of an agent, the one that it runs on."""
        return self.id if self.agent is None else self.agent.model

    @property
    def usage_name(self) -> str:
        """Name in usage, traces and kept answers: of any version of an agent its slug."""
        return self.id if self.agent is None else self.agent.slug


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogModel(ResolvedModel):
    """A model from the table, or an agent, with the fields of the Models API. None: unknown."""

    display_name: str
    family: str
    lifecycle: str
    created_at: datetime | None
    retires_at: datetime | None
    context_window: int | None
    description: str = ""
    capabilities: Mapping[str, Any] | None = field(default=None, hash=False)


def with_aliases(model: _M, operator_aliases: Mapping[str, str]) -> _M:
    """Add the operator's aliases of the model to its names."""
    names = model.names | {model.id}
    return replace(model, names=names | {alias for alias, target in operator_aliases.items() if target in names})
