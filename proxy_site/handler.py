"""Django handlers of the API and the browser's pages, and error responses of both.

API requests skip the browser's middleware.
"""

import asyncio
import io
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.urls import set_urlconf

from apiproxy.account.either_errors import either_error_response
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import DEFAULT_API_VERSION
from apiproxy.core.upstream_headers import answered_version
from apiproxy.db.connections import DATABASE_ERRORS
from apiproxy.dialects.anthropic import errors as anthropic
from apiproxy.dialects.openai import errors as openai
from apiproxy.http.request import client_request_id, request_id
from apiproxy.keys.authentication import is_trusted_proxy
from proxy_site.cors import Cors
from proxy_site.routes import Errors, route_of

logger = logging.getLogger(__name__)

_PAUSE_BYTES = 2**20
"""Bytes of a body after which `read_body` yields to the event loop."""
_MAX_HOST_CHARS = 100
_LOG_INTERVAL_S = 60.0
_WRONG_HOST = "The host name of this request is not allowed: add it to CLAUDE_PROXY_ALLOWED_HOSTS."
_NO_SCHEME = (
    "The reverse proxy sends no X-Forwarded-Proto header, which CLAUDE_PROXY_HTTPS requires: configure the "
    "proxy to set it to the scheme that clients use."
)
_CSRF = (
    "The form was not sent from a page of this gateway, or your browser hides that it was. Load the page again. If "
    "that does not help, add the address in your browser to CLAUDE_PROXY_CSRF_TRUSTED_ORIGINS."
)
_PAGE_MESSAGES = {
    FailureKind.NOT_FOUND: "There is no page at this address.",
    FailureKind.FORBIDDEN: "Your account may not do this.",
    FailureKind.INTERNAL: "Something went wrong. The log has the details.",
}

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ApiHandler(ASGIHandler):
    """Handler of API requests, without the browser's middleware.

    Each hook of that middleware would switch to a worker thread.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """Builds the middleware chain: CORS if origins are set, else none."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = cast("GetResponse", self._get_response_async)  # type: ignore[attr-defined]  # the stubs leave it out
        chain = _with_error_body(cast("GetResponse", convert_exception_to_response(view)))
        self._middleware_chain = cast("GetResponse", Cors(chain)) if settings.GATEWAY.cors_origins else chain

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if route_of(scope["path"]).own_thread:
            # A thread for this request, else a query that hangs would block all others.
            async with ThreadSensitiveContext():
                await self.handle(scope, receive, send)
        else:
            await self.handle(scope, receive, send)

    async def read_body(self, receive: Any) -> io.BytesIO:
        """The body in memory; Django's own method would write it to a file.

        A body in one piece is not copied. Between many pieces the event loop gets control.
        """
        pieces: list[bytes] = []
        size_bytes = paused_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            pieces.append(message.get("body", b""))
            size_bytes += len(pieces[-1])
            if not message.get("more_body", False):
                return io.BytesIO(b"".join(pieces))  # read() of the whole does not copy
            if size_bytes - paused_bytes > _PAUSE_BYTES:
                paused_bytes = size_bytes
                await asyncio.sleep(0)

    async def listen_for_disconnect(self, receive: Any) -> None:
        """Returns when the client disconnects; Django treats that like the exception of its own method.

        That exception's traceback and the frame of `handle` reference each other, so the request and its body would
        live until the next garbage collection.
        """
        await receive()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response with the headers common to all API responses."""
        set_urlconf(settings.ROOT_URLCONF)
        response: HttpResponseBase = await self._middleware_chain(request)
        response._resource_closers.append(request.close)  # type: ignore[attr-defined]  # as Django's own handler does
        if not response.streaming:
            response["Content-Length"] = str(len(response.content))  # type: ignore[attr-defined]  # HttpResponse has it
        # Responses belong to a key, and shared caches do not know `x-api-key`.
        response.headers.setdefault("Cache-Control", "no-store")
        response["X-Content-Type-Options"] = "nosniff"
        response["request-id"] = request_id(request)
        response["x-request-id"] = client_request_id(request) or request_id(request)
        response["anthropic-version"] = _version(request)
        return response


def _with_error_body(get_response: GetResponse) -> GetResponse:
    """Adds the body that a 405 of Django or ninja lacks."""

    async def respond(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        if response.status_code == 405 and "json" not in response.get("Content-Type", ""):
            return error_response(request, FailureKind.METHOD_NOT_ALLOWED, "Method Not Allowed")
        return response

    return respond


def _version(request: HttpRequest) -> str:
    """API version of the request.

    The client's, except in the OpenAI dialect, whose upstream requests use the default.
    """
    if route_of(request.path).errors is Errors.OPENAI:
        return DEFAULT_API_VERSION
    return answered_version(request.headers)


class EventSampler:
    """Counter of an event that any client can cause; due at most once per interval."""

    def __init__(self, *, every_s: float = _LOG_INTERVAL_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._monotonic = monotonic
        self._count = 0
        self._logged_at: float | None = None

    def due(self) -> int:
        """Counts an event. Returns the number since the last log line if a line is due, else 0."""
        self._count += 1
        now = self._monotonic()
        if self._logged_at is not None and now - self._logged_at < self._every_s:
            return 0
        count, self._count, self._logged_at = self._count, 0, now
        return count


class PageHandler(ASGIHandler):
    """Handler of browser requests, with all middleware."""

    def __init__(self) -> None:
        super().__init__()
        self._wrong_hosts = EventSampler()
        self._without_scheme = EventSampler()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The page, or a 400 that names the setting. Django's own 400 logs a traceback per request."""
        try:
            request.get_host()
        except DisallowedHost:
            if count := self._wrong_hosts.due():
                host = request.headers.get("host", "")[:_MAX_HOST_CHARS]
                logger.warning("request.wrong_host", extra={"host": host, "count": count})
            return error_response(request, FailureKind.INVALID_REQUEST, _WRONG_HOST)
        if _lacks_scheme(request):
            if count := self._without_scheme.due():
                logger.warning("request.no_forwarded_proto", extra={"count": count})
            return error_response(request, FailureKind.INVALID_REQUEST, _NO_SCHEME)
        response: HttpResponseBase = await super().get_response_async(request)
        return response


def _lacks_scheme(request: HttpRequest) -> bool:
    """True if a trusted proxy sends no `X-Forwarded-Proto`.

    The redirect to HTTPS would then repeat forever.
    """
    if not settings.SECURE_SSL_REDIRECT or "x-forwarded-proto" in request.headers:
        return False
    return is_trusted_proxy(request.META.get("REMOTE_ADDR") or "", settings.GATEWAY.trusted_proxies)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW, with a remedy for the operator."""
    origin = request.headers.get("origin", "")
    logger.warning(
        "request.csrf_failed", extra={"reason": reason[:_MAX_HOST_CHARS], "origin": origin[:_MAX_HOST_CHARS]}
    )
    response = error_response(request, FailureKind.FORBIDDEN, _CSRF)
    if response["Content-Type"].startswith("text/html"):
        context = {"status": response.status_code, "message": _CSRF}
        response.content = render_to_string("observability/refusal.html", context).encode()
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400, for malformed requests."""
    return error_response(request, FailureKind.INVALID_REQUEST, "Bad request")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 403."""
    return error_response(request, FailureKind.FORBIDDEN, "Forbidden")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404."""
    return error_response(request, FailureKind.NOT_FOUND, "Not Found")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500; 503 if the database is unavailable. Django logs the traceback."""
    if isinstance(sys.exception(), DATABASE_ERRORS):
        return error_response(request, FailureKind.DATABASE_UNAVAILABLE, "The gateway's database is unavailable.")
    return error_response(request, FailureKind.INTERNAL, "Internal server error")


def error_body(path: str, kind: FailureKind, message: str, *, request_id: str) -> tuple[int, bytes]:
    """Status and body of an error raised before Django sees the request.

    `GATEWAY_ERROR_BODY` in the settings.
    """
    response = _error(path, kind, message, request_id)
    return response.status_code, response.content


def error_response(request: HttpRequest, kind: FailureKind, message: str) -> HttpResponse:
    """An error in the format of the request's path; HTML for browsers on page paths."""
    response = _error(request.path, kind, message, request_id(request))
    if route_of(request.path).errors is Errors.PAGE and "text/html" in request.headers.get("accept", ""):
        context = {"status": response.status_code, "message": _PAGE_MESSAGES.get(kind, message)}
        response.content = render_to_string("observability/refusal.html", context).encode()
        response["Content-Type"] = "text/html; charset=utf-8"
    return response


def _error(path: str, kind: FailureKind, message: str, request_id: str) -> HttpResponse:
    error = ProxyError(kind, message)
    match route_of(path).errors:
        case Errors.OPENAI:
            return openai.error_response(error)
        case Errors.EITHER:
            return either_error_response(error, request_id)
        case Errors.OPERATIONS:
            status = anthropic.error_response(error, request_id).status_code
            return JsonResponse({"error": message, "reqId": request_id}, status=status)
        case Errors.ANTHROPIC | Errors.PAGE:
            return anthropic.error_response(error, request_id)
