"""The exception shared by all layers, and the kinds of failure.

Independent of HTTP: the dialects map a `FailureKind` to status and body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FailureKind(StrEnum):
    """Reason for a rejected turn or failed run.

    AGENT_BUDGET: an agent's budget per run is used up. AGENT_OUTPUT: its answer does not match its schema.
    MCP_SERVER_DOWN: an MCP server that the agent requires. JAIL_UNAVAILABLE: its built-in tools cannot be confined.
    Values are stored in traces and metrics: never rename one.
    """

    INVALID_REQUEST = "invalid_request"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    UNAUTHENTICATED = "unauthenticated"
    KEY_ENDED = "key_ended"
    BUDGET_SPENT = "budget_spent"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_IMPLEMENTED = "not_implemented"
    RATE_LIMITED = "rate_limited"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    DRAINING = "draining"
    STALL = "stall"
    MAX_DURATION = "max_duration"
    MAX_OUTPUT = "max_output"
    UPSTREAM_ERROR = "upstream_error"
    CONNECTION_LOST = "connection_lost"
    UPSTREAM_DOWN = "upstream_down"
    WORKER_DIED = "worker_died"
    WORKER_UNAVAILABLE = "worker_unavailable"
    AGENT_BUDGET = "agent_budget"
    AGENT_OUTPUT = "agent_output"
    MCP_SERVER_DOWN = "mcp_server_down"
    JAIL_UNAVAILABLE = "jail_unavailable"
    DATABASE_UNAVAILABLE = "database_away"
    CLIENT_DISCONNECT = "client_disconnect"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """HTTP status (400–599) and `error.type` (`rate_limit_error`) of the upstream.

    body: the complete error object as JSON, empty if it is unknown. headers: those passed on to the client.
    """

    status: int
    type: str
    body: bytes = field(default=b"", compare=False)
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)


class ProxyError(Exception):
    """A failure of a turn or run; a dialect turns it into an error response.

    message: safe to show to the client. param: the invalid request field (`messages.0.content`).
    retry_after_s: seconds until a retry makes sense. upstream: only for `UPSTREAM_ERROR`.
    details: `error.details` of the Messages API, for programs (`error_code`).
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        upstream: UpstreamError | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.upstream = upstream
        self.details = details

    def __repr__(self) -> str:
        return f"ProxyError({self.kind.value}, {self.message!r})"
