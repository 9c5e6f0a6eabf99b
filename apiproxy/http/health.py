"""The three paths that answer without a key, and say nothing about traffic to those who have none."""

from django.http import HttpRequest, HttpResponse, JsonResponse

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import ProxyError
from apiproxy.core.version import VERSION
from apiproxy.db.sqlite_file import database_file
from apiproxy.keys.authentication import authenticate
from apiproxy.runs.runtime import holder

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
)


async def index(request: HttpRequest) -> HttpResponse:
    """GET /: what this is; the queue for whoever has a key, the log folder for administrators."""
    info: dict[str, object] = {
        "status": "ok",
        "service": "claude-sdk-proxy",
        "version": VERSION,
        "format": "anthropic+openai",
        "endpoints": list(ENDPOINTS),
    }
    try:
        principal = await authenticate(request.headers, peer=request.META.get("REMOTE_ADDR") or "")
    except ProxyError:
        return JsonResponse(info)
    queue = holder.current().queue_snapshot()
    info["queue"] = {"active": queue.active, "waiting": queue.waiting, "max": queue.max}
    if "admin" in principal.scopes:
        info["logDir"] = str(gateway_settings().log_dir)
    return JsonResponse(info)


async def healthz(request: HttpRequest) -> HttpResponse:
    """GET /healthz: the process answers."""
    return JsonResponse({"status": "ok"})


async def readyz(request: HttpRequest) -> HttpResponse:
    """GET /readyz: a request sent now would be answered.

    503 while the pool warms up, cannot start, or drains, and while the file of the database is not where it was.
    """
    ready = holder.current().ready and not database_file.was_lost
    return JsonResponse({"status": "ok" if ready else "unavailable"}, status=200 if ready else 503)
