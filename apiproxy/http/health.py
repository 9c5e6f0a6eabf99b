"""Index, liveness, readiness and Claude Code's connection check: the paths without authentication.

Only a key sees the queue.
"""

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import ProxyError
from apiproxy.core.version import VERSION
from apiproxy.gateway import gateway
from apiproxy.http.request import authenticated

ENDPOINTS = (
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "GET /v1/models",
    "GET /v1/models/{id}",
    "POST /v1/chat/completions",
    "POST /v1/responses",
    "GET /v1/usage",
    "GET /openapi.json",
    "GET /sessions",
    "GET /debug/stats",
    "GET /metrics",
    "GET /dashboard/",
    "GET /healthz",
    "GET /readyz",
    "GET /api/hello",
)


async def index(request: HttpRequest) -> HttpResponse:
    """GET /: name and endpoints; with a key also the queue, with an admin key the log folder."""
    info: dict[str, object] = {
        "status": "ok",
        "service": "claude-sdk-proxy",
        "version": VERSION,
        "format": "anthropic+openai",
        "endpoints": list(ENDPOINTS),
    }
    try:
        principal = await authenticated(request)
    except ProxyError:
        return JsonResponse(info)
    engines = gateway().runtime.engines
    by_engine = {name: asdict(queue) for name, queue in engines.queues().items()}
    info["queue"] = {**asdict(engines.queue_snapshot()), "byEngine": by_engine}
    if "admin" in principal.scopes:
        info["logDir"] = str(gateway_settings().log_dir)
    return JsonResponse(info)


@require_safe
async def hello(request: HttpRequest) -> HttpResponse:
    """GET /api/hello: the API's own connection check, which Claude Code sends at its start, without a key."""
    return JsonResponse({"message": "hello"})


async def healthz(request: HttpRequest) -> HttpResponse:
    """GET /healthz: liveness of the process."""
    return JsonResponse({"status": "ok"})


async def readyz(request: HttpRequest) -> HttpResponse:
    """GET /readyz: whether a request sent now would be answered.

    503 while the pool starts, fails to start or drains, and while the SQLite file is missing or replaced.
    """
    made = gateway()
    ready = made.runtime.ready and not made.database_file.was_lost
    return JsonResponse({"status": "ok" if ready else "unavailable"}, status=200 if ready else 503)
