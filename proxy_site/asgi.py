"""ASGI application: routes requests to the API or browser handler, websockets to the dashboard."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
django.setup(set_prefix=False)  # before any import that needs models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import WebsocketDenier  # noqa: E402
from django.urls import re_path  # noqa: E402

from apiproxy.db.statement_timeout import install, limit_statements  # noqa: E402
from observability.live.routing import websocket_urlpatterns  # noqa: E402
from proxy_site.handler import ApiHandler, PageHandler  # noqa: E402
from proxy_site.middleware import Receive, SameOrigin, Scope, Send  # noqa: E402
from proxy_site.routes import Handler, canonical_path, route_of  # noqa: E402


class PathRouter:
    """Dispatches HTTP requests by path."""

    def __init__(self) -> None:
        self._api = ApiHandler()
        self._pages = PageHandler()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = canonical_path(scope["path"])
        route = route_of(path)
        # The API's views know GET alone; the server sends no body in response to HEAD.
        is_head = scope["method"] == "HEAD" and route.handler is not Handler.PAGES
        method = "GET" if is_head else scope["method"]
        scope = {**scope, "path": path, "method": method}
        if not route.turn:
            limit_statements()
        with_login = route.handler is Handler.PAGES_WITH_COOKIE and _has_cookie(scope)
        handler = self._pages if with_login or route.handler is Handler.PAGES else self._api
        await handler(scope, receive, send)


def _has_cookie(scope: Scope) -> bool:
    return any(name == b"cookie" for name, _ in scope["headers"])


class LimitedSockets:
    """Sets the database statement timeout for dashboard sockets."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit_statements()
        await self._inner(scope, receive, send)


# Without it, an unknown path would be logged as an internal error.
_unknown = re_path("", WebsocketDenier.as_asgi())
_routes = URLRouter([*websocket_urlpatterns, _unknown])
_sockets = LimitedSockets(SameOrigin(AuthMiddlewareStack(_routes)))
install()

application = ProtocolTypeRouter({"http": PathRouter(), "websocket": _sockets})
