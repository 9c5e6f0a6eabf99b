"""What the dashboard shows of the gateway beside its traces. The composition brings it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypedDict


class SessionRow(TypedDict):
    """A conversation of a key. Times are Unix seconds; cost is an estimate in US dollars.

    unpriced: turns whose cost is missing from it, or a part of it.
    change: what the last turn did to the history (`resume`, `reset`, …); differed_at: the message, from 0, where it
    differed. unstored: answered turns that were to be kept and could not be.
    """

    key: str
    key_id: int
    conversation: str
    dialect: str
    model: str
    created: float
    last_used: float
    messages: int
    turns: int
    resumes: int
    resets: int
    failures: int
    change: str
    differed_at: int | None
    unstored: int
    tokens: int
    cost: float
    unpriced: int


class KeyRow(TypedDict):
    """A key with its budgets in US dollars, None where it has none. state: `in use`, `expired` or `revoked`."""

    id: int
    name: str
    prefix: str
    state: str
    budget_day: float | None
    budget_month: float | None
    budget_total: float | None


class UsageRow(TypedDict):
    """What a key used on one day (UTC); cost is an estimate in US dollars.

    unpriced: requests whose cost is missing from it, or a part of it.
    """

    key_id: int
    key: str
    day: date
    requests: int
    failures: int
    tokens_in: int
    tokens_out: int
    cost: float
    unpriced: int


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, the last used first, and where the next page begins; None after the last."""

    rows: Sequence[SessionRow]
    next: str | None


class ConsolePort(Protocol):
    """The gateway as the dashboard sees it; `observability.ports.GatewayPort` has the rest."""

    @property
    def demo(self) -> bool:
        """Whether the stand-in answers, because no upstream credential is set."""
        ...

    async def sessions(self, *, text: str, limit: int, cursor: str) -> SessionPage:
        """Sessions whose id or key begins with the text. Raises ValueError for a cursor that is none."""
        ...

    async def keys(self) -> Sequence[KeyRow]:
        """The keys by name, at most a thousand."""
        ...

    async def usage(self, *, since: date) -> Sequence[UsageRow]:
        """The rows by key and day from that day on."""
        ...

    async def spent(self) -> dict[int, float]:
        """What each key has spent in all, in US dollars."""
        ...


class ConsoleHolder:
    """Where the views find the port."""

    def __init__(self) -> None:
        self._port: ConsolePort | None = None

    def install(self, port: ConsolePort | None) -> None:
        """Sets the port of this process, or takes it away."""
        self._port = port

    def current(self) -> ConsolePort | None:
        """The port; None where nobody brought one."""
        return self._port


console = ConsoleHolder()
