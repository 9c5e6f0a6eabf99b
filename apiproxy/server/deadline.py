"""A connection of Twisted's whose client has to send each request in time.

Twisted's own clock begins anew with every byte, so a client that sends one now and then could stay for ever.
"""

import asyncio
import logging
from typing import Any

from twisted.web.http import HTTPChannel

logger = logging.getLogger(__name__)

BYTES_PER_S = 64 * 1024
"""For each such part of it that has come, a request has a second longer."""


class TimedChannel(HTTPChannel):
    """One connection. Its factory's server has `request_timeout_s`: how long a request may take to come, in seconds."""

    _clock: asyncio.TimerHandle | None = None
    _began = 0.0
    _came_bytes = 0

    def too_slow(self) -> None:
        """The time is over: to be refused and closed."""
        raise NotImplementedError

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 — Twisted's name
        """Bytes of a request, or of the next one."""
        if self._clock is None and not self._handlingRequest:
            self._began, self._came_bytes = asyncio.get_running_loop().time(), 0
            self._wait(self.factory.server.request_timeout_s)
        self._came_bytes += len(data)
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted's is not typed

    def allContentReceived(self) -> None:  # noqa: N802 — Twisted's name
        """A request is complete."""
        self._stop()
        super().allContentReceived()  # type: ignore[no-untyped-call]  # Twisted's is not typed

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 — Twisted's name
        """The connection is gone."""
        self._stop()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted's is not typed

    def _wait(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().call_later(seconds, self._look)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _look(self) -> None:
        allowed_s = self.factory.server.request_timeout_s + self._came_bytes / BYTES_PER_S
        left_s = self._began + allowed_s - asyncio.get_running_loop().time()
        if left_s > 0:
            self._wait(left_s)
            return
        self._clock = None
        logger.info("client.too_slow")
        self.too_slow()
