"""Events of a run.

In order: any number of lifecycle events and stream batches, then exactly one ending.
`at` is Unix time in seconds, taken when the event happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from apiproxy.core.errors import ProxyError

StreamEvent: TypeAlias = dict[str, Any]
"""Unmodified stream event of the Messages API (`message_start`, …)."""

UPSTREAM_REQUEST_ID = "x-upstream-request-id"
"""Header with the upstream's own id of a request, under which its `request-id` is passed on."""


class StepKind(StrEnum):
    """Kinds of an agent's steps. Values are stored in traces: never rename one."""

    MODEL_CALL = "model_call"
    TOOL_CALL = "tool_call"
    DENIED = "denied"
    RETRY = "retry"


class CancelReason(StrEnum):
    """Party that cancelled a run."""

    CLIENT_DISCONNECT = "client_disconnect"
    OPERATOR = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """Entry of `usage.iterations`. model: empty for the request's own.

    Token counts are those of `Usage`; cache_creation_1h_input_tokens is part of cache_creation_input_tokens.
    apart: its tokens are not included in the totals of `usage`.
    """

    type: str
    model: str = ""
    apart: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """The upstream's token counts. cost_usd: an estimate, None if no part has a price.

    estimated: some counts are the gateway's, because the upstream's were missing or impossible.
    cache_creation_1h_input_tokens: the cache writes with a lifetime of an hour.
    server_tools: uses by their names in `usage.server_tool_use`.
    unknown: other counts in the upstream's usage that may be billed.
    unpriced: parts of the usage without a price, which cost_usd excludes.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False
    cache_creation_1h_input_tokens: int = 0
    server_tools: tuple[tuple[str, float], ...] = ()
    speed: str = ""
    inference_geo: str = ""
    service_tier: str = ""
    iterations: tuple[Iteration, ...] = ()
    unknown: tuple[str, ...] = ()
    unpriced: tuple[str, ...] = ()

    @property
    def partly_unpriced(self) -> bool:
        """True if cost_usd excludes a part of the usage."""
        return self.cost_usd is not None and bool(self.unpriced)

    @property
    def prompt_tokens(self) -> int:
        """All input tokens. 0 means unknown: no prompt is empty."""
        return self.input_tokens + self.cache_read_input_tokens + self.cache_creation_input_tokens

    def billed(self, count: str) -> int:
        """Tokens of one count, such as `input_tokens`, with those of iterations that the totals leave out."""
        within = sum(getattr(entry, count) for entry in self.iterations if not entry.apart)
        beside = sum(getattr(entry, count) for entry in self.iterations if entry.apart)
        return int(max(getattr(self, count), within) + beside)


@dataclass(frozen=True, slots=True)
class Queued:
    """The run is queued at that position, from 1; 0 if a slot was free at once."""

    at: float
    position: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """The run has a slot and waits for a worker."""

    at: float


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The turn was passed to the engine. pid: the CLI process that answers it, None without one."""

    at: float
    pid: int | None


@dataclass(frozen=True, slots=True)
class Retrying:
    """The attempt failed before the first byte was sent; retried on a new worker."""

    at: float
    error: ProxyError


@dataclass(frozen=True, slots=True)
class Streamed:
    """A batch of upstream events. raw: the same as received, for a client that gets the upstream's bytes.

    events is empty if the bytes hold no known event. headers: the upstream's for the client, by lower-case name, with
    the first batch of an attempt only.
    """

    at: float
    events: Sequence[StreamEvent]
    raw: bytes = b""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Step of an agent's run.

    Published when it begins (ended_at None), and again with the same id when it has ended.
    kind: a call of the model, of a tool, a call of a tool that was denied, or a wait before a repeated model call.
    name: model id, or `server/tool`. number: of the model call, from 1, in which the step began. parent_id: the step
    that a subagent's step belongs to. usage: of a model call, priced. arguments, result: content blocks or JSON; only
    for traces that store bodies.
    """

    id: str
    kind: StepKind
    name: str
    number: int
    started_at: float
    ended_at: float | None = None
    failed: bool = False
    error: str = ""
    parent_id: str = ""
    usage: Usage | None = None
    arguments: Any = field(default=None, repr=False)
    result: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step of an agent's run has begun or ended."""

    at: float
    step: Step


@dataclass(frozen=True, slots=True)
class Finished:
    """The upstream's message is complete."""

    at: float
    stop_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The run failed.

    diagnostics: stderr tail and options, for error dumps only, never for a client.
    """

    at: float
    error: ProxyError
    usage: Usage = Usage()
    diagnostics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run was cancelled before it was complete."""

    at: float
    reason: CancelReason
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request was rejected before a run was created (401, 400, 429 …)."""

    at: float
    error: ProxyError


Ending: TypeAlias = Finished | Failed | Cancelled
RunEvent: TypeAlias = Queued | Admitted | WorkerReady | Retrying | Streamed | Stepped | Ending
Event: TypeAlias = RunEvent | Rejected
