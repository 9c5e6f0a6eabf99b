"""The one exception that crosses layers, and the closed set of ways in which a turn can fail.

Nothing here knows HTTP: `dialects/*/failures.py` decides what a client sees of a `FailureKind`.
"""

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """Why a turn was refused or a run failed. The values are kept in traces and metrics: never rename one."""

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
    DATABASE_AWAY = "database_away"
    CLIENT_DISCONNECT = "client_disconnect"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """What the upstream said, without the CLI's decoration.

    status: its HTTP status (400–599). type: its `error.type`, such as `rate_limit_error`.
    """

    status: int
    type: str


class ProxyError(Exception):
    """A failure with its data; raised anywhere, put into words for the client by the dialect alone.

    message is safe to show to the client. param names the request field at fault (`messages.0.content`).
    retry_after_s is the earliest sensible retry in seconds. upstream is set for `UPSTREAM_ERROR` only.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        upstream: UpstreamError | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.upstream = upstream

    def __repr__(self) -> str:
        return f"ProxyError({self.kind.value}, {self.message!r})"
