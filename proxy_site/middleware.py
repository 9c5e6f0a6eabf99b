"""The Content-Security-Policy of the browser's pages: everything from this host, no script but from files."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apiproxy.http.request import request_id

POLICY = "; ".join(
    [
        "default-src 'none'",
        # Alpine, with which the theme's own pages are written, compiles the expressions in their attributes.
        "script-src 'self' 'unsafe-eval'",
        # The theme writes its colours into a <style> of the page, and Alpine sets style attributes.
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
    """Puts the policy on every page, static file and error."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        assert iscoroutinefunction(get_response)
        self._next = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """What the site answers, with the headers."""
        response = await self._next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("request-id", request_id(request))
        return response
