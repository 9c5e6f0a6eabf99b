"""What this package needs of the gateway. The composition brings the two together; neither imports the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from django.http import HttpRequest


class QueueSnapshot(Protocol):
    """How full the gateway is: runs with a slot, runs that wait for one, slots."""

    @property
    def active(self) -> int:
        """Runs with a slot."""
        ...

    @property
    def waiting(self) -> int:
        """Runs that wait."""
        ...

    @property
    def max(self) -> int:
        """Slots."""
        ...


class UpstreamSnapshot(Protocol):
    """Whether the upstream is asked, as far as this process knows it."""

    @property
    def state(self) -> str:
        """`closed`: it is. `open`: it has failed too often and is not. `probing`: one request tries it."""
        ...

    @property
    def failures(self) -> int:
        """Attempts that failed, in a row."""
        ...

    @property
    def opened(self) -> int:
        """How often it was given up since the start."""
        ...

    @property
    def retry_after_s(self) -> float:
        """Seconds until it is tried; 0 where it is not open."""
        ...


class SettlementsSnapshot(Protocol):
    """How far what keys have used is in the database."""

    @property
    def pending(self) -> int:
        """Jobs that are not in it yet."""
        ...

    @property
    def failing(self) -> bool:
        """Whether it did not take the last ones."""
        ...

    @property
    def dropped(self) -> int:
        """Settlements that are lost: what these runs used is in no sum."""
        ...


class WorkerSnapshot(Protocol):
    """One CLI process. rss_bytes is its resident memory, 0 where it has gone; run_id and model are None while idle."""

    @property
    def id(self) -> str:
        """The gateway's name for it."""
        ...

    @property
    def pid(self) -> int:
        """The process's id."""
        ...

    @property
    def state(self) -> str:
        """One of a few words, such as `idle` or `busy`."""
        ...

    @property
    def turns(self) -> int:
        """Turns that it was given."""
        ...

    @property
    def rss_bytes(self) -> int:
        """Resident memory in bytes."""
        ...

    @property
    def started_at(self) -> float:
        """Unix time of its start."""
        ...

    @property
    def run_id(self) -> str | None:
        """The run that it serves."""
        ...

    @property
    def model(self) -> str | None:
        """The model of that run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who may look at operations. by: what proved it; a login's requests need a CSRF token where they change something.

    may_change: also cancel and the like.
    """

    name: str
    by: Literal["key", "login"]
    may_change: bool


class GatewayPort(Protocol):
    """The gateway as this package sees it. Everything but the last two returns at once, on the event loop's thread."""

    def queue(self) -> QueueSnapshot:
        """How full the gateway is."""
        ...

    def upstream(self) -> UpstreamSnapshot:
        """Whether the upstream is asked."""
        ...

    def workers(self) -> Sequence[WorkerSnapshot]:
        """Every CLI process."""
        ...

    def cancel(self, run_id: str) -> bool:
        """Asks the queued or running run to end as cancelled by an operator; False where there is none with that id."""
        ...

    def retire(self, worker_id: str) -> bool:
        """Ends the worker, after its turn where it is busy; False where there is none."""
        ...

    def lost(self, process: str) -> None:
        """A process of that name (`Config.process`) has died: what it had reserved is free again."""
        ...

    def settlements(self) -> SettlementsSnapshot:
        """How far what keys have used is in the database."""
        ...

    def config(self) -> Mapping[str, Any]:
        """The settings to show, by the names of API.md (`stallTimeoutMs`, …); no secrets."""
        ...

    async def sessions_stats(self) -> Mapping[str, Any]:
        """totalSessions, activeSessions, totalResumes, totalFailures, hitRate, hits, misses."""
        ...

    async def authorise(self, request: HttpRequest) -> Operator | None:
        """Who asks, if it is a key of scope `admin` or a staff login; None for anybody else.

        Raises ProxyError where nobody can say: the database is away, or too many wrong keys came from there.
        """
        ...
