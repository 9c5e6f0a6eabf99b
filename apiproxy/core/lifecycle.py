"""Background services, started and stopped with the server.

`GATEWAY_BACKGROUND_SERVICES` lists those of the site.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)


class BackgroundService(Protocol):
    """Started before the first request is accepted, stopped after the last response.

    Those of the site are created with the `Gateway` as their only argument.
    """

    async def start(self) -> None:
        """Starts the service. An exception aborts the start of the gateway."""
        ...

    async def stop(self) -> None:
        """Stops the service and writes pending records, within a time limit.

        Also called after a failed `start`.
        """
        ...


@dataclass(frozen=True, slots=True)
class OnStop:
    """Service that only does something when it is stopped."""

    work: Callable[[], Awaitable[object]]

    async def start(self) -> None: ...

    async def stop(self) -> None:
        await self.work()


class Lifecycle:
    """Starts services in order and stops them in reverse order."""

    def __init__(self) -> None:
        self._started: list[BackgroundService] = []
        self._stopping = False

    async def start(self, services: Iterable[BackgroundService]) -> None:
        """Starts the services one after another, until `stop` is called.

        Raises the error of the first one that fails.
        """
        for service in services:
            if self._stopping:
                return
            self._started.append(service)  # before its start, so that `stop` cleans up after a failed one
            await service.start()

    async def stop(self) -> None:
        """Stops every started service. An error is logged, so that the remaining ones still write their data."""
        self._stopping = True
        while self._started:
            service = self._started.pop()
            try:
                await service.stop()
            except Exception:  # the other services must still write their data
                with contextlib.suppress(Exception):  # the logging may be what failed
                    logger.exception("gateway.stop_failed", extra={"service": type(service).__name__})
