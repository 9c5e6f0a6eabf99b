"""Contract between runs and engines.

An engine turns a Messages body into the upstream's stream events. It owns its processes or connections and sends at
most one upstream request for each `begin`; retries, limits and accounting are done by `runs`. `sdk.pool.Pool` is the
only engine today. A further engine is a folder next to `sdk` that implements `Engine` and `Answer`, and touches these
places of `runs.runtime.Runtime`:

- choice of the engine of a turn: `start`, which passes one engine to every run;
- start, readiness and shutdown: `pool` in `__init__`, `ready` and `drain`;
- operators' view: `workers`, a list of `WorkerSnapshot`, which describes CLI processes;
- limits of the engine itself: `sdk.pool.PoolLimits`. The number of runs at once is `admission`'s, for all engines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import StreamEvent, Usage


def _noop() -> None:
    """Default callback."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A Messages body and its context.

    body: any fields; `stream` and `model` in it are ignored. model: full id, sent to the upstream. body_bytes: size as
    JSON; large bodies are encoded off the event loop. run_id: shown to operators. key_id: the API key served.
    on_sent: called once the upstream request is sent; never called if it is not. on_waiting: called if that will take
    long. may_begin: called before the worker gets the request; False ends it there.
    """

    run_id: str
    key_id: int | None = None
    model: str
    body: Mapping[str, Any]
    body_bytes: int = 0
    betas: tuple[str, ...] = ()
    on_sent: Callable[[], None] = _noop
    on_waiting: Callable[[], None] = _noop
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


class Answer(Protocol):
    """One turn on one worker. Used by one task: `next_batch` until None, then `release`, in every case."""

    async def next_batch(self) -> Sequence[StreamEvent] | None:
        """Wait for at least one event and return all that have arrived; None at the end.

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
        """Return the worker to the engine, or end it.

        Returns within seconds, when the upstream call is over and the worker is free.
        """
        ...

    @property
    def pid(self) -> int:
        """Process id of the CLI."""
        ...

    @property
    def stderr_tail(self) -> str:
        """Last lines of the CLI's stderr in this turn."""
        ...


class Engine(Protocol):
    """Answers Messages requests."""

    async def begin(self, request: EngineRequest) -> Answer:
        """Hand the request to a worker, waiting for one to be ready.

        Raises ProxyError: WORKER_UNAVAILABLE, DRAINING, INVALID_REQUEST (the body cannot be encoded), and CANCELLED if
        `may_begin` returned False.
        """
        ...
