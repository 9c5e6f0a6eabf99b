"""How the API's requests go through Django: without the browser's middleware, and with JSON for whatever goes wrong."""

import asyncio
import io
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import ThreadSensitiveContext
from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.urls import set_urlconf

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.db.connections import DATABASE_ERRORS
from apiproxy.dialects.anthropic import errors as anthropic
from apiproxy.dialects.openai import errors as openai
from apiproxy.http.request import client_request_id, request_id

logger = logging.getLogger(__name__)

_API_VERSION = "2023-06-01"
_PAUSE_BYTES = 2**20
"""Others get the event loop after so much of a body that is there already."""
_OPENAI = ("/v1/chat", "/chat", "/v1/responses", "/responses")
TURN_PATHS = ("/v1/messages", "/messages", *_OPENAI)
_WITHOUT_QUERIES = (*TURN_PATHS, "/healthz", "/readyz")
_OPERATIONS = ("/debug", "/sessions", "/metrics")
_PAGES = ("/dashboard", "/admin")
_TO_PEOPLE = {
    FailureKind.NOT_FOUND: "There is no page at this address.",
    FailureKind.FORBIDDEN: "Your account may not do this.",
    FailureKind.INTERNAL: "Something went wrong. The log has the details.",
}

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ApiHandler(ASGIHandler):
    """Django's handler for the API's paths.

    The browser's middleware is not only of no use here: each of its hooks is a hop to a worker thread and back.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """No middleware but CORS, where origins are set."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = cast("GetResponse", self._get_response_async)  # type: ignore[attr-defined]  # the stubs leave it out
        chain = cast("GetResponse", convert_exception_to_response(view))
        self._middleware_chain = cast("GetResponse", CorsMiddleware(chain)) if settings.GATEWAY.cors_origins else chain

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3. The thread that Django makes for each request is left out where hardly anything asks for one.

        Elsewhere it stays: a query that hangs must not hold the others, which share a thread.
        """
        if scope["path"].startswith(_WITHOUT_QUERIES):
            await self.handle(scope, receive, send)
        else:
            async with ThreadSensitiveContext():
                await self.handle(scope, receive, send)

    async def read_body(self, receive: Any) -> io.BytesIO:
        """The body in memory, and not copied where it comes in one piece. Django's own would write it to a file.

        One of many pieces is put together with pauses for the event loop.
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
                return io.BytesIO(b"".join(pieces))  # which a `read` of the whole does not copy
            if size_bytes - paused_bytes > _PAUSE_BYTES:
                paused_bytes = size_bytes
                await asyncio.sleep(0)

    async def listen_for_disconnect(self, receive: Any) -> None:
        """Returns when the client has gone, which Django takes as it takes an exception.

        The one that Django's own raises keeps the frame of `handle` in its traceback, and that the exception: a circle
        with the body and all else of the request in it, which only a garbage collection would free.
        """
        await receive()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response, with the headers that every answer has."""
        set_urlconf(settings.ROOT_URLCONF)
        response: HttpResponseBase = await self._middleware_chain(request)
        if response.status_code == 405 and "json" not in response.get("Content-Type", ""):
            response = refused(request, FailureKind.METHOD_NOT_ALLOWED, "Method Not Allowed")
        response._resource_closers.append(request.close)  # type: ignore[attr-defined]  # as Django's own handler does
        if not response.streaming:
            response["Content-Length"] = str(len(response.content))  # type: ignore[attr-defined]  # HttpResponse has it
        # Answers belong to a key, and caches in between do not know `x-api-key`.
        response.headers.setdefault("Cache-Control", "no-store")
        response["X-Content-Type-Options"] = "nosniff"
        response["request-id"] = request_id(request)
        response["x-request-id"] = client_request_id(request) or request_id(request)
        response["anthropic-version"] = _API_VERSION
        return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400: a request that it would not read."""
    return refused(request, FailureKind.INVALID_REQUEST, "Bad request")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 403."""
    return refused(request, FailureKind.FORBIDDEN, "Forbidden")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404."""
    return refused(request, FailureKind.NOT_FOUND, "Not Found")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500, and 503 without a database; the traceback is in the log."""
    if isinstance(sys.exception(), DATABASE_ERRORS):
        return refused(request, FailureKind.DATABASE_AWAY, "The gateway's database does not answer.")
    return refused(request, FailureKind.INTERNAL, "Internal server error")


def error_body(path: str, kind: FailureKind, message: str, *, request_id: str) -> bytes:
    """A `server.channel.ErrorBody`."""
    return _error(path, kind, message, request_id).content


def refused(request: HttpRequest, kind: FailureKind, message: str) -> HttpResponse:
    """An error in the form of the request's path; a page for people."""
    response = _error(request.path, kind, message, request_id(request))
    if request.path.startswith(_PAGES) and "text/html" in request.headers.get("accept", ""):
        said = {"status": response.status_code, "message": _TO_PEOPLE.get(kind, message)}
        response.content = render_to_string("observability/refusal.html", said).encode()
        response["Content-Type"] = "text/html; charset=utf-8"
    return response


def _error(path: str, kind: FailureKind, message: str, request_id: str) -> HttpResponse:
    error = ProxyError(kind, message)
    if path.startswith(_OPENAI):
        return openai.error_response(error)
    response = anthropic.error_response(error, request_id)
    if path.startswith(_OPERATIONS):
        body = {"error": message, "reqId": request_id}
        return JsonResponse(body, status=response.status_code)
    return response
