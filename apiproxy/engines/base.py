"""Contract between runs and engines.

An engine turns a Messages body into the upstream's stream events. It owns its processes or connections and sends at
most one upstream request for each `begin`; retries, limits and accounting are done by `runs`. An engine is a folder
next to this module that implements `Engine` and `Answer`; `runs.engines` creates it and gives it its own queue.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import ProxyError
from apiproxy.core.events import Step, StreamEvent, Usage
from apiproxy.core.turns import DEFAULT_API_VERSION, EngineName


def _noop() -> None:
    """Default callback."""


def _always() -> bool:
    return True


def _ignored(_: Step) -> None:
    """Default callback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A Messages body and its context.

    body: any fields; `stream` and `model` in it are ignored. model: sent to the upstream. body_bytes: size as JSON;
    large bodies are encoded off the event loop. raw_body: the body as received, see `Turn`. stream: whether the client
    asked for a stream. verbatim: the answer's bytes are wanted too. api_version, betas, headers, beta_api: see `Turn`.
    run_id: shown to operators. key_id: the API key served.
    on_sent: called once the upstream request is sent; never called if it is not. on_waiting: called if that will take
    long. may_begin: called before the worker gets the request; False ends it there. agent: for the engine `agents`.
    lists_tools: see `Turn`. name: of the agent as the client asked for it, for the answer's `model`.
    on_step: called when a step of an agent begins and ends.
    """

    run_id: str
    key_id: int | None = None
    model: str
    body: Mapping[str, Any]
    body_bytes: int = 0
    betas: tuple[str, ...] = ()
    raw_body: bytes | None = None
    stream: bool = True
    verbatim: bool = False
    api_version: str = DEFAULT_API_VERSION
    headers: Mapping[str, str] = field(default_factory=dict)
    beta_api: bool = False
    on_sent: Callable[[], None] = _noop
    on_waiting: Callable[[], None] = _noop
    may_begin: Callable[[], bool] = _always
    agent: AgentSpec | None = None
    lists_tools: bool = False
    name: str = ""
    on_step: Callable[[Step], None] = _ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """A worker process as operators see it. rss_bytes is 0 if it has ended; started_at is Unix time."""

    id: str
    pid: int
    state: str
    turns: int
    rss_bytes: int
    started_at: float
    run_id: str | None
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The upstream finished its message."""

    stop_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The upstream or the process failed. usage: counts until then.

    unsent: the upstream request cannot have been sent, since there was no connection.
    """

    error: ProxyError
    usage: Usage
    unsent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """`stop` was called before the message was complete."""

    usage: Usage


Outcome = Completed | Broken | Stopped


@dataclass(frozen=True, slots=True)
class Batch:
    """Valid events that arrived together.

    raw: their bytes, if the request asked for them.
    """

    events: Sequence[StreamEvent]
    raw: bytes = b""


class Answer(Protocol):
    """One turn. Used by one task: `next_batch` until None, then `release`, in every case."""

    async def next_batch(self) -> Batch | None:
        """Wait for something to arrive and return all of it; None at the end.

        Upstream errors are never raised; they are in `outcome`.
        """
        ...

    def stop(self) -> None:
        """End the turn soon: `next_batch` returns None at once.

        Callable from the loop's thread at any time, and more than once.
        """
        ...

    @property
    def outcome(self) -> Outcome:
        """Result of the turn; valid once `next_batch` has returned None."""
        ...

    async def release(self) -> None:
        """Return the worker or connection to the engine, or end it.

        Returns within seconds, when the upstream call is over and the worker is free.
        """
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the upstream's response that the client gets; valid with the first batch."""
        ...

    @property
    def stalls(self) -> bool:
        """True if silence of the upstream means a stall; False if the answer arrives as a whole."""
        ...

    @property
    def pid(self) -> int | None:
        """Process id of the CLI, None for an engine without processes."""
        ...

    @property
    def stderr_tail(self) -> str:
        """Last lines of the CLI's stderr in this turn."""
        ...


class AnswerSource(Protocol):
    """The part of an engine that a run uses."""

    async def begin(self, request: EngineRequest) -> Answer:
        """Hand the request to a worker or connection, waiting for one to be ready.

        Raises ProxyError: WORKER_UNAVAILABLE, DRAINING, INVALID_REQUEST (the body cannot be encoded), and CANCELLED if
        `may_begin` returned False.
        """
        ...


class Engine(AnswerSource, Protocol):
    """Answers Messages requests. Bound to one event loop."""

    @property
    def name(self) -> EngineName: ...

    async def warm(self) -> bool:
        """Prepare for the first request; False if that failed, which may be tried again by `begin`."""
        ...

    @property
    def ready(self) -> bool:
        """True if requests can be answered."""
        ...

    def snapshot(self) -> list[WorkerSnapshot]:
        """Worker processes, for operators; empty for an engine without processes."""
        ...

    def retire(self, worker_id: str) -> bool:
        """Replace a worker after its turn; False if there is no such worker."""
        ...

    async def close(self) -> None:
        """Release all processes and connections, within seconds."""
        ...
