"""Agents for tests of the parts around their engine."""

from decimal import Decimal
from typing import Any

from apiproxy.core.agents import AgentSpec
from tests.support.engine import MODEL


def agent_spec(**fields: Any) -> AgentSpec:
    """An agent without tools, on the tests' model."""
    given: dict[str, Any] = {"slug": "support-bot", "version": 3, "display_name": "Support", "model": MODEL}
    return AgentSpec(**{**given, "budget_usd": Decimal("0.5"), **fields})
