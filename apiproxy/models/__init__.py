"""Database models: API keys, upstream models, agents, usage, sessions and recent answers."""

from apiproxy.models.agents import Agent, AgentVersion, agents_named
from apiproxy.models.answers import RecentAnswer, RecentAnswerName
from apiproxy.models.catalog import EngineChoice, Lifecycle, Model
from apiproxy.models.keys import (
    ENV_KEY_NAME,
    PREFIX_LENGTH,
    ApiKey,
    Dialect,
    Scope,
    default_budget_day_usd,
    default_budget_month_usd,
    default_budget_total_usd,
    default_budget_warn_percent,
    default_concurrent_runs,
    default_requests_per_minute,
    default_scopes,
    default_tokens_per_minute,
    validate_dialects,
    validate_scopes,
)
from apiproxy.models.mcp_servers import McpServer
from apiproxy.models.names import validate_hosts, validate_names
from apiproxy.models.sessions import CONVERSATION_ID_CHARS, Session, SessionHistory
from apiproxy.models.usage import Reservation, Usage

__all__ = [
    "CONVERSATION_ID_CHARS",
    "ENV_KEY_NAME",
    "PREFIX_LENGTH",
    "Agent",
    "AgentVersion",
    "ApiKey",
    "Dialect",
    "EngineChoice",
    "Lifecycle",
    "McpServer",
    "Model",
    "RecentAnswer",
    "RecentAnswerName",
    "Reservation",
    "Scope",
    "Session",
    "SessionHistory",
    "Usage",
    "agents_named",
    "default_budget_day_usd",
    "default_budget_month_usd",
    "default_budget_total_usd",
    "default_budget_warn_percent",
    "default_concurrent_runs",
    "default_requests_per_minute",
    "default_scopes",
    "default_tokens_per_minute",
    "validate_dialects",
    "validate_hosts",
    "validate_names",
    "validate_scopes",
]
