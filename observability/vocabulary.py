"""Enumerations of traces, statistics and metrics. The values are stored: never rename one."""

from enum import StrEnum
from typing import assert_never

from apiproxy.core.errors import FailureKind


class Status(StrEnum):
    """Status of a request. `interrupted`: its process ended first."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


class EndReason(StrEnum):
    """Reason for the end of a request."""

    COMPLETED = "completed"
    CLIENT_DISCONNECT = "client_disconnect"
    STALL = "stall"
    MAX_DURATION = "max_duration"
    MAX_OUTPUT = "max_output"
    AGENT_BUDGET = "agent_budget"
    QUEUE_TIMEOUT = "queue_timeout"
    UPSTREAM_ERROR = "upstream_error"
    WORKER_DIED = "worker_died"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class Phase(StrEnum):
    """Last phase reached by a request; of an error, the last phase before it."""

    RECEIVED = "received"
    QUEUED = "queued"
    ADMITTED = "admitted"
    WORKER_READY = "worker_ready"
    FIRST_EVENT = "first_event"
    STREAMING = "streaming"
    FINISHED = "finished"


def end_reason_of(kind: FailureKind) -> EndReason:  # noqa: C901 - one table
    """End reason of a failed or refused turn."""
    match kind:
        case FailureKind.STALL:
            return EndReason.STALL
        case FailureKind.MAX_DURATION:
            return EndReason.MAX_DURATION
        case FailureKind.MAX_OUTPUT:
            return EndReason.MAX_OUTPUT
        case FailureKind.AGENT_BUDGET:
            return EndReason.AGENT_BUDGET
        case FailureKind.QUEUE_TIMEOUT:
            return EndReason.QUEUE_TIMEOUT
        case (
            FailureKind.UPSTREAM_ERROR
            | FailureKind.CONNECTION_LOST
            | FailureKind.UPSTREAM_DOWN
            | FailureKind.MCP_SERVER_DOWN
            | FailureKind.AGENT_OUTPUT
        ):
            return EndReason.UPSTREAM_ERROR
        case FailureKind.WORKER_DIED | FailureKind.WORKER_UNAVAILABLE | FailureKind.JAIL_UNAVAILABLE:
            return EndReason.WORKER_DIED
        case FailureKind.CLIENT_DISCONNECT:
            return EndReason.CLIENT_DISCONNECT
        case FailureKind.CANCELLED | FailureKind.KEY_ENDED:
            return EndReason.CANCELLED
        case FailureKind.INTERNAL | FailureKind.DATABASE_UNAVAILABLE:
            return EndReason.INTERNAL
        case (
            FailureKind.INVALID_REQUEST
            | FailureKind.TOO_LARGE
            | FailureKind.TOO_SLOW
            | FailureKind.UNAUTHENTICATED
            | FailureKind.BUDGET_SPENT
            | FailureKind.FORBIDDEN
            | FailureKind.NOT_FOUND
            | FailureKind.METHOD_NOT_ALLOWED
            | FailureKind.NOT_IMPLEMENTED
            | FailureKind.RATE_LIMITED
            | FailureKind.QUEUE_FULL
            | FailureKind.DRAINING
        ):
            return EndReason.REFUSED
        case _:
            assert_never(kind)


def status_of(reason: EndReason) -> Status:
    """Status for an end reason."""
    match reason:
        case EndReason.COMPLETED:
            return Status.COMPLETED
        case EndReason.CLIENT_DISCONNECT | EndReason.CANCELLED:
            return Status.CANCELLED
        case EndReason.REFUSED:
            return Status.REFUSED
        case EndReason.INTERRUPTED:
            return Status.INTERRUPTED
        case (
            EndReason.STALL
            | EndReason.MAX_DURATION
            | EndReason.MAX_OUTPUT
            | EndReason.AGENT_BUDGET
            | EndReason.QUEUE_TIMEOUT
            | EndReason.UPSTREAM_ERROR
            | EndReason.WORKER_DIED
            | EndReason.INTERNAL
        ):
            return Status.ERROR
        case _:
            assert_never(reason)
