"""The workers page and the operators' actions: cancel a request, retire a worker, fill the demo."""

import asyncio
import logging

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from apiproxy.conf import gateway_settings
from apiproxy.gateway import gateway
from observability.dashboard import demo
from observability.dashboard.access import PageContext, action, error_page, page, render_page
from observability.live.broadcast import Broadcaster
from observability.serialize.processes import settings_json

logger = logging.getLogger(__name__)


@page
async def workers(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """GET /dashboard/workers: CLI processes, kept up to date through the socket."""
    broadcaster = gateway().find(Broadcaster)
    assert broadcaster is not None  # the context has a service
    context = {
        "title": "Workers",
        "live_page": True,
        "snapshot": await broadcaster.current_snapshot(),
        "config": settings_json(gateway_settings(), ctx.service.config.cli),
        "has_redis": ctx.service.cluster.has_redis,
    }
    return await render_page(request, ctx, "observability/workers.html", context)


@action
async def cancel(request: HttpRequest, ctx: PageContext, run_id: str) -> HttpResponseBase:
    """POST /dashboard/requests/{id}/cancel: cancel a queued or running request."""
    if not await ctx.service.cluster.cancel(run_id):
        return error_page(request, 404, "This request has already ended.")
    logger.warning("request.cancel_requested", extra={"reqId": run_id, "by": ctx.user.get_username()})
    return JsonResponse({"id": run_id, "cancelled": True}, status=202)


@action
async def retire(request: HttpRequest, ctx: PageContext, worker_id: str) -> HttpResponseBase:
    """POST /dashboard/workers/{id}/retire: end a worker, after its turn if it is busy."""
    if not await ctx.service.cluster.retire(worker_id):
        return error_page(request, 404, "This worker has ended or is about to.")
    logger.warning("worker.retire_requested", extra={"worker": worker_id, "by": ctx.user.get_username()})
    return JsonResponse({"id": worker_id, "retired": True}, status=202)


@action
async def fill_demo(request: HttpRequest, ctx: PageContext) -> HttpResponseBase:
    """POST /dashboard/demo: add synthetic traces; demo mode only."""
    if not ctx.demo:
        return error_page(request, 404, "Demo data can be added in demo mode only.")
    count = await asyncio.to_thread(demo.fill)
    if (broadcaster := gateway().find(Broadcaster)) is not None:
        broadcaster.invalidate_figures()
    messages.success(request, f"{count} demo requests of the last seven days were added.")
    return HttpResponseRedirect(reverse("dashboard:overview"))
