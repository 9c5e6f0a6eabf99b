"""Django's handler for the browser's pages, which first looks at the name by which it is asked."""

import logging
import time
from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponseBase

from apiproxy.core.errors import FailureKind
from proxy_site.handler import refused

logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
_MAX_HOST_CHARS = 100
_MESSAGE = "The name in the Host header is not one of this gateway's: add it to CLAUDE_PROXY_ALLOWED_HOSTS."


class RepeatedEvent:
    """Counts an event that anybody can cause, and logs it at most once in an interval."""

    def __init__(self, *, every_s: float = LOG_INTERVAL_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._monotonic = monotonic
        self._count = 0
        self._logged_at: float | None = None

    def due(self) -> int:
        """Counts one more; how many there were since the last line if a line is due now, else 0."""
        self._count += 1
        now = self._monotonic()
        if self._logged_at is not None and now - self._logged_at < self._every_s:
            return 0
        count, self._count, self._logged_at = self._count, 0, now
        return count


class PageHandler(ASGIHandler):
    """The whole middleware, for requests to a host of ours."""

    def __init__(self) -> None:
        super().__init__()
        self._wrong_hosts = RepeatedEvent()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The page, or a 400 that names the setting. Django's own 400 logs a traceback for each request."""
        try:
            request.get_host()
        except DisallowedHost:
            if count := self._wrong_hosts.due():
                host = request.headers.get("host", "")[:_MAX_HOST_CHARS]
                logger.warning("request.wrong_host", extra={"host": host, "count": count})
            return refused(request, FailureKind.INVALID_REQUEST, _MESSAGE)
        response: HttpResponseBase = await super().get_response_async(request)
        return response
