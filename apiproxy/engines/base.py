"""What a run may ask of an engine. `pool.Pool` is the real one; nothing above this line knows of processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import StreamEvent, Usage


def _nobody() -> None:
    """Nobody wants to know."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A Messages body and what goes beside it.

    body may hold any field; `stream` and `model` in it are ignored. model is the full id that the upstream gets.
    body_bytes is the body's size as JSON: large ones are encoded off the event loop. run_id is for the operator's eyes.
    key_id: the API key that it is for; the breaker tells keys apart.
    on_asked is called when the upstream is asked; not at all where that does not come about. on_waiting is called where
    it will be long until then. may_begin is asked before the worker hears of the request: False ends it there.
    """

    run_id: str
    key_id: int | None = None
    model: str
    body: Mapping[str, Any]
    body_bytes: int = 0
    betas: tuple[str, ...] = ()
    on_asked: Callable[[], None] = _nobody
    on_waiting: Callable[[], None] = _nobody
    may_begin: Callable[[], bool] = _always


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
    """The upstream or the process failed. usage holds what was counted until then.

    unsent: the upstream was to be asked and cannot have been, since there was no connection.
    """

    error: ProxyError
    usage: Usage
    unsent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """`stop` was called before the message was complete."""

    usage: Usage


Outcome = Completed | Broken | Stopped


class Answer(Protocol):
    """One turn on one worker. Used by one task: `next_batch` until None, then `settle`, in every case."""

    async def next_batch(self) -> Sequence[StreamEvent] | None:
        """The events that have arrived, waiting for at least one; None at the end. Never raises for upstream errors."""
        ...

    def stop(self) -> None:
        """Ends the turn soon.

        `next_batch` returns None at once. Callable from the loop's thread at any time, or twice.
        """
        ...

    @property
    def outcome(self) -> Outcome:
        """How the turn ended; valid once `next_batch` has returned None."""
        ...

    async def settle(self) -> None:
        """Gives the worker back or ends it.

        Returns when the upstream call is over and the worker free, within seconds.
        """
        ...

    @property
    def pid(self) -> int:
        """The CLI process's id."""
        ...

    @property
    def stderr_tail(self) -> str:
        """The last lines that the CLI process wrote to stderr in this turn."""
        ...


class Engine(Protocol):
    """Answers Messages requests."""

    async def begin(self, request: EngineRequest) -> Answer:
        """Hands the request to a worker, waiting for one to be ready.

        Raises ProxyError (WORKER_UNAVAILABLE, DRAINING, and CANCELLED where it may not begin any more).
        """
        ...
