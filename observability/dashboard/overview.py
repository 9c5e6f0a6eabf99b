"""GET /dashboard/: figures, charts, active requests and the last errors."""

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from apiproxy.gateway import gateway
from observability.dashboard.access import PageContext, error_page, page, render_page
from observability.dashboard.charts import DEFAULT_WINDOW, WINDOWS, read_charts
from observability.live.broadcast import Broadcaster


@page
async def overview(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """The page, with a snapshot, so that it shows figures before the socket is open."""
    broadcaster = gateway().find(Broadcaster)
    assert broadcaster is not None  # the context has a service
    window = request.GET.get("window", DEFAULT_WINDOW)
    window = window if window in WINDOWS else DEFAULT_WINDOW
    context = {
        "title": "Overview",
        "live_page": True,
        "snapshot": await broadcaster.current_snapshot(),
        "charts": await read_charts(WINDOWS[window]),
        "windows": list(WINDOWS.values()),
        "window": window,
    }
    return await render_page(request, ctx, "observability/overview.html", context)


@page
async def charts(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """GET /dashboard/charts?window=1h: the charts' data."""
    window = WINDOWS.get(request.GET.get("window", DEFAULT_WINDOW))
    if window is None:
        return error_page(request, 400, f"window: one of {', '.join(WINDOWS)}")
    return JsonResponse(await read_charts(window), headers={"Cache-Control": "no-store"})


@page
async def login_state(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """GET /dashboard/login-state: 204 for a valid login.

    A page whose socket was rejected learns the reason here.
    """
    return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
