"""The ASGI application: the API by a lean handler, the browser's pages by Django with all its middleware."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
django.setup(set_prefix=False)  # before any import that needs models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier  # noqa: E402
from django.urls import re_path  # noqa: E402

from apiproxy.db.statement_timeout import install, limit_statements  # noqa: E402
from observability.live.routing import websocket_urlpatterns  # noqa: E402
from proxy_site.handler import TURN_PATHS, ApiHandler  # noqa: E402
from proxy_site.middleware import Receive, SameOrigin, Scope, Send  # noqa: E402
from proxy_site.pages import PageHandler  # noqa: E402

_BROWSER_PATHS = ("/admin", "/dashboard", "/static/")
_OPERATIONS_PATHS = ("/debug", "/metrics")


class PathRouter:
    """Sends a request to the browser's or to the API's handler."""

    def __init__(self) -> None:
        self._api = ApiHandler()
        self._pages = PageHandler()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if not scope["path"].startswith(TURN_PATHS):  # those have deadlines of their own
            limit_statements()
        handler = self._pages if _for_browser(scope) else self._api
        await handler(scope, receive, send)


def _for_browser(scope: Scope) -> bool:
    """Pages, and what a staff login may ask for as well as a key: a login is a cookie."""
    path: str = scope["path"]
    if path.startswith(_OPERATIONS_PATHS):
        return any(name == b"cookie" for name, _ in scope["headers"])
    return path.startswith(_BROWSER_PATHS)


class LimitedSockets:
    """What the dashboard's sockets read from the database, and the ticks that the first of them starts."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        limit_statements()
        await self._inner(scope, receive, send)


# A path that is nobody's would be an error of ours in the log.
_elsewhere = re_path("", WebsocketDenier.as_asgi())
_routes = URLRouter([*websocket_urlpatterns, _elsewhere])
_sockets = LimitedSockets(AllowedHostsOriginValidator(SameOrigin(AuthMiddlewareStack(_routes))))
install()

application = ProtocolTypeRouter({"http": PathRouter(), "websocket": _sockets})
