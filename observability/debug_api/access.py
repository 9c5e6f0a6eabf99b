"""Access control and response helpers of the operations API."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import SECRET_HEADERS
from observability.permissions import Operator, authorise
from observability.service import Service

P = ParamSpec("P")
Response = Coroutine[Any, Any, HttpResponseBase]
View = Callable[Concatenate[HttpRequest, P], Response]
OperatorView = Callable[Concatenate[HttpRequest, Service, Operator, P], Response]

VIEW_TIMEOUT_S = 10.0
"""Deadline of a view. A statement times out after 3 s, but waiting for a connection does not."""

DATABASE_TIMEOUT = "The gateway's database timed out."

_CREDENTIALS = ("authorization", "cookie", *SECRET_HEADERS)


def with_timeout(view: View[P], *, on_timeout: Callable[[HttpRequest], HttpResponseBase]) -> View[P]:
    """Limit the view to `VIEW_TIMEOUT_S`; after that, respond with `on_timeout`."""

    @wraps(view)
    async def limited(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            async with asyncio.timeout(VIEW_TIMEOUT_S):
                return await view(request, *args, **kwargs)
        except TimeoutError:
            return on_timeout(request)

    return limited


def operator_view(method: str, *, changes: bool = False) -> Callable[[OperatorView[P]], View[P]]:
    """Decorate a view that takes one method, from operators only.

    changes: the view changes something, so the operator needs that permission and a browser must send its CSRF token.
    """
    allowed = ("GET", "HEAD") if method == "GET" else (method,)

    def decorate(view: OperatorView[P]) -> View[P]:
        @wraps(view)
        async def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method not in allowed:
                return error_response(405, "Method not allowed", headers={"Allow": ", ".join(allowed)})
            service = gateway().find(Service)
            if service is None:
                return error_response(503, "The gateway is not running in this process")
            try:
                operator = await authorise(request)
            except ProxyError as error:
                status = 429 if error.kind is FailureKind.RATE_LIMITED else 503
                return error_response(status, error.message, headers=_retry_after(error))
            if operator is None:
                status = 403 if any(request.headers.get(name) for name in _CREDENTIALS) else 401
                return error_response(status, "Requires an API key with scope admin, or a staff login")
            if changes and not operator.may_change:
                return error_response(403, "Your account has read-only access")

            async def authorised(request: HttpRequest) -> HttpResponseBase:
                return await view(request, service, operator, *args, **kwargs)

            if changes and operator.by == "login":
                return await csrf_protect(authorised)(request)
            return await authorised(request)

        limited = with_timeout(checked, on_timeout=_database_timeout)
        return csrf_exempt(limited)  # a browser does not send a key on its own; logins are checked above

    return decorate


def _database_timeout(_: HttpRequest) -> HttpResponse:
    return error_response(503, DATABASE_TIMEOUT, headers={"Retry-After": "2"})


def _retry_after(error: ProxyError) -> dict[str, str]:
    return {} if error.retry_after_s is None else {"Retry-After": str(math.ceil(error.retry_after_s))}


def json_response(data: Any, status: int = 200) -> JsonResponse:
    """JSON that must not be cached."""
    return JsonResponse(data, status=status, safe=False, headers={"Cache-Control": "no-store"})


def error_response(
    status: int, message: str, *, req_id: str | None = None, headers: dict[str, str] | None = None
) -> HttpResponse:
    """The error format of /debug."""
    body = {"error": message} | ({"reqId": req_id} if req_id else {})
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"} | (headers or {}))
