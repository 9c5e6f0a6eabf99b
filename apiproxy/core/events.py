"""What happens in a run, in order: zero or more lifecycle events and stream batches, then exactly one ending.

`at` is Unix time in seconds, taken where the event happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from apiproxy.core.errors import ProxyError

StreamEvent: TypeAlias = dict[str, Any]
"""One event of the Messages API's stream (`message_start`, `content_block_delta`, …), as the upstream sent it."""


class CancelReason(StrEnum):
    """Who ended a run that had not failed."""

    CLIENT_DISCONNECT = "client_disconnect"
    OPERATOR = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """One entry of `usage.iterations`. model: empty where it is the request's own.

    The four counts have the names and meanings of `Usage`; cache_creation_1h_input_tokens is a part of
    cache_creation_input_tokens. apart: its tokens are not in the totals of `usage`.
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
    """The upstream's own token counts; cost_usd is an estimate, None where nothing of it has a price.

    estimated: some counts are the gateway's, because the upstream told none or some that cannot be.
    cache_creation_1h_input_tokens: the part of the cache writes that is kept for an hour. server_tools: uses by the
    names of `usage.server_tool_use`. unknown: other counts that the upstream told and that may be billed. unpriced: the
    parts of this usage that cost_usd leaves out, because the price table lacks them.
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
        """Whether cost_usd is only the part of the cost that is known."""
        return self.cost_usd is not None and bool(self.unpriced)

    @property
    def prompt_tokens(self) -> int:
        """The whole input. 0: the upstream did not tell, since every request has some."""
        return self.input_tokens + self.cache_read_input_tokens + self.cache_creation_input_tokens


@dataclass(frozen=True, slots=True)
class Queued:
    """The run waits for a slot; position counts from 1. Published also when a slot was free at once (position 0)."""

    at: float
    position: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """The run has a slot and now waits for a worker."""

    at: float


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The turn was handed to the CLI process with this pid."""

    at: float
    pid: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """The attempt failed before a byte went to the client and is made again on a fresh worker."""

    at: float
    error: ProxyError


@dataclass(frozen=True, slots=True)
class Streamed:
    """Upstream events that arrived together, in order; never empty."""

    at: float
    events: Sequence[StreamEvent]


@dataclass(frozen=True, slots=True)
class Finished:
    """The upstream's message is complete."""

    at: float
    stop_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended in an error. diagnostics: for error dumps only, never shown to a client (stderr tail, options)."""

    at: float
    error: ProxyError
    usage: Usage = Usage()
    diagnostics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody ended the run before it was complete."""

    at: float
    reason: CancelReason
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request was refused before there was a run (401, 400, 429 …)."""

    at: float
    error: ProxyError


Ending: TypeAlias = Finished | Failed | Cancelled
RunEvent: TypeAlias = Queued | Admitted | WorkerReady | Retrying | Streamed | Ending
Event: TypeAlias = RunEvent | Rejected
