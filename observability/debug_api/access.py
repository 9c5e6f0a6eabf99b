"""Who may see operations: a view's door. Everything behind it is asked for by an `Operator`."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from apiproxy.core.errors import FailureKind, ProxyError
from observability.permissions import Operator, authorise
from observability.service import Service, holder

P = ParamSpec("P")
Response = Coroutine[Any, Any, HttpResponseBase]
View = Callable[Concatenate[HttpRequest, P], Response]
OperatorView = Callable[Concatenate[HttpRequest, Service, Operator, P], Response]

PATIENCE_S = 10.0
"""How long a view may take. A statement ends after 3 s; what hangs before it has begun, on a connection, does not."""

_CREDENTIALS = ("authorization", "x-api-key", "cookie")


LATE = "The gateway's database does not answer."


def patient(view: View[P], *, late: Callable[[HttpRequest], HttpResponseBase]) -> View[P]:
    """The view within PATIENCE_S; after that, what `late` answers."""

    @wraps(view)
    async def limited(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await view(request, *args, **kwargs)
        except TimeoutError:
            return late(request)

    return limited


def for_operators(method: str, *, changes: bool = False) -> Callable[[OperatorView[P]], View[P]]:
    """Makes a view that answers operators only, to that method only.

    changes: the view changes something; then the operator must be allowed to, and a browser must send its CSRF token.
    """
    allowed = ("GET", "HEAD") if method == "GET" else (method,)

    def decorate(view: OperatorView[P]) -> View[P]:
        @wraps(view)
        async def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method not in allowed:
                return refusal(405, "Method not allowed", headers={"Allow": ", ".join(allowed)})
            service = holder.current()
            if service is None:
                return refusal(503, "This process serves nothing")
            try:
                operator = await authorise(request)
            except ProxyError as error:  # nobody can say who asks
                late = error.kind is FailureKind.RATE_LIMITED
                return refusal(429 if late else 503, error.message, headers=_retry_after(error))
            if operator is None:
                known = any(request.headers.get(name) for name in _CREDENTIALS)
                return refusal(403 if known else 401, "This needs a key of scope admin, or the login of a staff user")
            if changes and not operator.may_change:
                return refusal(403, "You may look, but not change anything")

            async def behind(request: HttpRequest) -> HttpResponseBase:
                return await view(request, service, operator, *args, **kwargs)

            if changes and operator.by == "login":
                return await csrf_protect(behind)(request)
            return await behind(request)

        limited = patient(guarded, late=lambda _: refusal(503, LATE, headers={"Retry-After": "2"}))
        return csrf_exempt(limited)  # a key is not sent by a browser on its own; logins are checked above

    return decorate


def _retry_after(error: ProxyError) -> dict[str, str]:
    return {} if error.retry_after_s is None else {"Retry-After": str(math.ceil(error.retry_after_s))}


def answer(data: Any, status: int = 200) -> JsonResponse:
    """JSON that nobody keeps."""
    return JsonResponse(data, status=status, safe=False, headers={"Cache-Control": "no-store"})


def refusal(
    status: int, message: str, *, req_id: str | None = None, headers: dict[str, str] | None = None
) -> HttpResponse:
    """The shape of every error under /debug."""
    body = {"error": message} | ({"reqId": req_id} if req_id else {})
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"} | (headers or {}))
