"""Access control and rendering of the dashboard.

For staff who may view traces; changes need one more permission.
"""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse

from apiproxy.conf import gateway_settings
from apiproxy.gateway import gateway
from observability.debug_api.access import DATABASE_TIMEOUT, with_timeout
from observability.permissions import CHANGE, User, can_view_traces
from observability.service import Service

logger = logging.getLogger(__name__)

P = ParamSpec("P")
Response = Coroutine[Any, Any, HttpResponseBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """The user of a page, and the service and permissions that its view needs."""

    user: Any
    service: Service
    may_change: bool

    @property
    def demo(self) -> bool:
        return gateway_settings().credential.kind == "demo"


PageView = Callable[Concatenate[HttpRequest, PageContext, P], Response]
View = Callable[Concatenate[HttpRequest, P], Response]


def page(view: PageView[P]) -> View[P]:
    """Decorate a GET view for users who may see traces."""
    return _staff_view(view, method="GET", changes=False)


def action(view: PageView[P]) -> View[P]:
    """Decorate a POST view for users who may make changes. Django's middleware checks the CSRF token."""
    return _staff_view(view, method="POST", changes=True)


def _staff_view(view: PageView[P], *, method: str, changes: bool) -> View[P]:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)

    @wraps(view)
    async def checked(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if request.method not in allowed:
            return error_page(request, 405, "Method not allowed.", headers={"Allow": ", ".join(allowed)})
        user: Any = await request.auser()
        if not user.is_authenticated:
            return _redirect_to_login(request)
        request.user = user  # else templates would load it again, with a blocking query
        look, change = await sync_to_async(_permissions)(user)
        if not look or (changes and not change):
            return error_page(request, 403, "Your account has read-only access." if look else _NO_ACCESS)
        service = gateway().find(Service)
        if service is None:
            return error_page(request, 503, "The gateway is not running in this process.")
        ctx = PageContext(user=user, service=service, may_change=change)
        return await view(request, ctx, *args, **kwargs)

    named = cast("View[P]", checked)  # `wraps` says that the arguments have no names
    return with_timeout(named, on_timeout=_database_timeout)


_NO_ACCESS = "Your account cannot see the dashboard. An administrator can grant the permission “Can view trace”."


def _permissions(user: User) -> tuple[bool, bool]:
    look = can_view_traces(user)
    return look, look and bool(user.has_perm(CHANGE))


def _database_timeout(request: HttpRequest) -> HttpResponseBase:
    return error_page(request, 503, DATABASE_TIMEOUT, headers={"Retry-After": "2"})


def wants_fragment(request: HttpRequest) -> bool:
    """True if the request comes from a script, which inserts the response into an open page."""
    return "hx-request" in request.headers or request.headers.get("x-requested-with") == "fetch"


def _redirect_to_login(request: HttpRequest) -> HttpResponseBase:
    if wants_fragment(request):
        # Not a redirect: the script would insert the login page into the dashboard.
        return HttpResponse(status=401, headers={"HX-Redirect": reverse("admin:login"), "Cache-Control": "no-store"})
    return redirect_to_login(request.get_full_path(), reverse("admin:login"))


def error_page(
    request: HttpRequest, status: int, message: str, *, headers: dict[str, str] | None = None
) -> HttpResponseBase:
    """An error: JSON for scripts, a plain page otherwise."""
    headers = {"Cache-Control": "no-store"} | (headers or {})
    if wants_fragment(request):
        return JsonResponse({"error": message}, status=status, headers=headers)
    body = render_to_string("observability/refusal.html", {"status": status, "message": message})
    return HttpResponse(body, status=status, headers=headers)


async def render_page(
    request: HttpRequest, ctx: PageContext, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """The rendered template; must not be cached. Fragments get no theme context."""
    body = await sync_to_async(_render)(request, ctx, template, context)
    return HttpResponse(body, status=status, headers={"Cache-Control": "no-store", "Vary": "HX-Request"})


def _render(request: HttpRequest, ctx: PageContext, template: str, context: dict[str, Any]) -> str:
    is_fragment = template.rpartition("/")[2].startswith("_")
    theme = {} if is_fragment else admin.site.each_context(request)
    ours = {"may_change": ctx.may_change, "demo": ctx.demo, "is_fullwidth": "1"}
    return render_to_string(template, theme | ours | context, request=request)
