"""Sockets only for this site's own pages. A browser opens a socket to any host and sends its cookies along."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class SameOrigin:
    """Passes on sockets whose Origin is the host that they ask, or one of CSRF_TRUSTED_ORIGINS; refuses all others.

    Stricter than Channels' own validator, which does not look at ports: another port is another site.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        allowed = is_own(headers.get(b"origin", ""), host=headers.get(b"host", ""))
        application = self._application if allowed else WebsocketDenier()
        await application(scope, receive, send)


def is_own(origin: str, *, host: str) -> bool:
    """Whether a page of that origin is one of this site's, where the site is asked for as `host`."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    return parts.netloc.lower() == host.lower() or origin in settings.CSRF_TRUSTED_ORIGINS
