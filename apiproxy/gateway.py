"""Object graph of a process: the stateful parts of the API, in order of their dependencies."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, cast

from apiproxy.answers.recent import RecentAnswers
from apiproxy.catalog import Catalog
from apiproxy.conf import GatewaySettings, gateway_settings
from apiproxy.core.lifecycle import BackgroundService, Lifecycle, OnStop
from apiproxy.db.checkpoint import Checkpoints
from apiproxy.db.guarded_query import QueryGuard
from apiproxy.db.sqlite_file import DatabaseFile
from apiproxy.keys.cache import Keyring
from apiproxy.keys.login_throttle import Throttle
from apiproxy.limits.accounting import UsageAccounting
from apiproxy.limits.count_tokens import CountLimiter
from apiproxy.limits.token_counter import TokenCounter
from apiproxy.runs.observers import Observers
from apiproxy.runs.runtime import Runtime
from apiproxy.sessions.recorder import SessionRecorder

_T = TypeVar("_T")


class Gateway:
    """The stateful parts of the API in one process, and its other background services.

    services: of the site; created with the gateway, and started before the parts that they record. close_connections:
    called at the stop, between the end of the runs and the last writes. Tests may create several gateways.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        services: Sequence[Callable[["Gateway"], BackgroundService]] = (),
        close_connections: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.settings = settings
        self.database_file = DatabaseFile()
        self.database = QueryGuard()
        self.catalog = Catalog(self.database)
        self.keyring = Keyring(self.database)
        self.wrong_keys = Throttle(burst=50, every_s=2.0)
        self.wrong_passwords = Throttle(burst=10, every_s=60.0)
        self.count_limiter = CountLimiter()
        self.token_counter = TokenCounter(settings.credential)
        self.accounting = UsageAccounting(self.catalog)
        self.sessions = SessionRecorder()
        self.answers = RecentAnswers()
        self.observers = Observers(self.accounting, self.sessions, self.answers)
        self.runtime = Runtime(
            settings,
            database=self.database,
            catalog=self.catalog,
            accounting=self.accounting,
            sessions=self.sessions,
            observers=self.observers,
        )
        self._added: dict[type, object] = {}
        self._services: list[BackgroundService] = [
            self.database_file,
            Checkpoints(),  # stops when everything else has been written
            *(create(self) for create in services),
            OnStop(self.keyring.settle),
            OnStop(self.token_counter.aclose),
            self.accounting,
            OnStop(self.sessions.stop),
            self.answers,
            *([OnStop(close_connections)] if close_connections else []),
            self.runtime,
        ]
        self._lifecycle = Lifecycle()

    async def start(self) -> None:
        """Start the services in order.

        Raises the error of the first that fails; `stop` must be called even then.
        """
        await self._lifecycle.start(self._services)

    async def stop(self) -> None:
        """Stop the services in reverse order: the runs first, the checkpoints and the file watch last."""
        await self._lifecycle.stop()

    def add(self, part: object) -> None:
        """Make a part of another app available to its views, by its class."""
        self._added[type(part)] = part

    def find(self, kind: type[_T]) -> _T | None:
        """The added part of that class; None if its app does not run in this process."""
        return cast("_T | None", self._added.get(kind))


_lock = threading.Lock()
_current: Gateway | None = None


def gateway() -> Gateway:
    """The gateway of this process, for views.

    `serve` installs it; under another server it is created at its first use, and its background services do not run.
    """
    global _current
    with _lock:  # two threads may be first
        if _current is None:
            _current = Gateway(gateway_settings())
        return _current


def install(made: Gateway | None) -> None:
    """Set the gateway of this process, or remove it."""
    global _current
    _current = made
