"""Middleware of the browser's pages and sockets: Content-Security-Policy, static files, origin check."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import validate_host
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from apiproxy.core.origins import matches_origin
from apiproxy.http.request import request_id

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = "; ".join(
    [
        "default-src 'none'",
        # Alpine, used by the theme's pages, compiles the expressions in their attributes.
        "script-src 'self' 'unsafe-eval'",
        # The theme writes its colours into a <style> element, and Alpine sets style attributes.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class ContentSecurityPolicy:
    """Adds security headers and the request id to pages, static files and errors."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: GetResponse) -> None:
        assert iscoroutinefunction(get_response)
        self._next = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = await self._next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("request-id", request_id(request))
        return response


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # WhiteNoise has no types
    """Asynchronous WhiteNoise.

    WhiteNoise's own middleware is synchronous: Django would run every request in a worker thread, and would warn about
    each static file, because a file cannot be streamed asynchronously. Static files are small and read as a whole.
    """

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: GetResponse) -> None:
        assert iscoroutinefunction(get_response)
        super().__init__(get_response)
        self._next = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        static_file = self.files.get(request.path_info)
        if static_file is None:
            return await self._next(request)
        return await sync_to_async(_file_response, thread_sensitive=False)(static_file, request)


def _file_response(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
    found = static_file.get_response(request.method, request.META)
    content = b""
    if found.file is not None:
        with found.file as file:
            content = file.read()
    response = HttpResponse(content, status=int(found.status))
    del response["content-type"]  # WhiteNoise sets its own
    for name, value in found.headers:
        response[name] = value
    return response


class SameOrigin:
    """ASGI middleware that rejects websockets opened by other sites.

    Browsers open sockets to any host and send its cookies along. Channels' own validator ignores ports, though another
    port is another site, and does not know CSRF_TRUSTED_ORIGINS.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        allowed = is_same_origin(headers.get(b"origin", ""), host=headers.get(b"host", ""))
        application = self._application if allowed else WebsocketDenier()
        await application(scope, receive, send)


def is_same_origin(origin: str, *, host: str) -> bool:
    """True if browsers of this origin may send forms and open WebSockets.

    It is the requested host, one of ALLOWED_HOSTS, or matches one of CSRF_TRUSTED_ORIGINS.
    """
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not name:
        return False
    if matches_origin(origin, settings.CSRF_TRUSTED_ORIGINS):
        return True
    bracketed = f"[{name}]" if ":" in name else name
    return parts.netloc.lower() == host.lower() and validate_host(bracketed, settings.ALLOWED_HOSTS)
