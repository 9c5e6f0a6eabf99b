"""The door of the dashboard's pages: staff who may see traces; whoever changes something needs one more permission."""

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
from observability.debug_api.access import LATE, patient
from observability.permissions import CHANGE, User, may_look
from observability.service import Service, holder

logger = logging.getLogger(__name__)

P = ParamSpec("P")
Answer = Coroutine[Any, Any, HttpResponseBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """The user of a page, with the service and the permissions that its view needs."""

    user: Any
    service: Service
    may_change: bool

    @property
    def demo(self) -> bool:
        """Whether the gateway runs in demo mode."""
        return gateway_settings().credential.kind == "demo"


PageView = Callable[Concatenate[HttpRequest, PageContext, P], Answer]
View = Callable[Concatenate[HttpRequest, P], Answer]


def page(view: PageView[P]) -> View[P]:
    """Makes a view that answers GET, for those who may look."""
    return _guarded(view, method="GET", changes=False)


def action(view: PageView[P]) -> View[P]:
    """Makes a view that answers POST, for those who may change something. Django's middleware checks the CSRF token."""
    return _guarded(view, method="POST", changes=True)


def _guarded(view: PageView[P], *, method: str, changes: bool) -> View[P]:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)

    @wraps(view)
    async def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if request.method not in allowed:
            return refusal(
                request, 405, "This address does not take that method.", headers={"Allow": ", ".join(allowed)}
            )
        user: Any = await request.auser()
        if not user.is_authenticated:
            return _to_login(request)
        # So that templates do not ask for it again.
        request.user = user
        look, change = await sync_to_async(_rights)(user)
        if not look or (changes and not change):
            return refusal(request, 403, "Your account may look, but not change anything." if look else _NO_ACCESS)
        service = holder.current()
        if service is None:
            return refusal(request, 503, "This process serves nothing: the gateway has not started here.")
        desk = PageContext(user=user, service=service, may_change=change)
        return await view(request, desk, *args, **kwargs)

    named = cast("View[P]", guarded)  # `wraps` says that the arguments have no names
    return patient(named, late=lambda request: refusal(request, 503, LATE, headers={"Retry-After": "2"}))


_NO_ACCESS = "Your account may not see the dashboard. An administrator can give it the permission “Can view trace”."


def _rights(user: User) -> tuple[bool, bool]:
    look = may_look(user)
    return look, look and bool(user.has_perm(CHANGE))


def wants_fragment(request: HttpRequest) -> bool:
    """Whether a script asks, which puts the answer into a page that is there already."""
    return "hx-request" in request.headers or request.headers.get("x-requested-with") == "fetch"


def _to_login(request: HttpRequest) -> HttpResponseBase:
    if wants_fragment(request):
        # Not a redirect: the script would put the login page into the middle of the dashboard.
        return HttpResponse(status=401, headers={"HX-Redirect": reverse("admin:login"), "Cache-Control": "no-store"})
    return redirect_to_login(request.get_full_path(), reverse("admin:login"))


def refusal(
    request: HttpRequest, status: int, message: str, *, headers: dict[str, str] | None = None
) -> HttpResponseBase:
    """An error: JSON for scripts, a plain page otherwise."""
    headers = {"Cache-Control": "no-store"} | (headers or {})
    if wants_fragment(request):
        return JsonResponse({"error": message}, status=status, headers=headers)
    body = render_to_string("observability/refusal.html", {"status": status, "message": message})
    return HttpResponse(body, status=status, headers=headers)


async def answer(
    request: HttpRequest, desk: PageContext, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """The template with the theme's context and the desk's; nobody keeps it. For a fragment without the theme's."""
    body = await sync_to_async(_rendered)(request, desk, template, context)
    return HttpResponse(body, status=status, headers={"Cache-Control": "no-store", "Vary": "HX-Request"})


def _rendered(request: HttpRequest, desk: PageContext, template: str, context: dict[str, Any]) -> str:
    theirs = {} if template.rpartition("/")[2].startswith("_") else admin.site.each_context(request)
    ours = {"may_change": desk.may_change, "demo": desk.demo, "is_fullwidth": "1"}
    return render_to_string(template, theirs | ours | context, request=request)
