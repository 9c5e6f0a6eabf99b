"""`/v1/models`, `/v1/usage` and `/sessions`. Errors have the format of the Anthropic API."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI

from apiproxy.account import sessions
from apiproxy.account.models import list_models, retrieve_model
from apiproxy.account.usage import usage_of
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.dialects.anthropic import errors
from apiproxy.http.exception_handlers import register_exception_handlers
from apiproxy.http.request import authenticated
from apiproxy.keys.authentication import require

api = NinjaAPI(title="Account", urls_namespace="account", docs_url=None, openapi_url=None)


async def usage(request: HttpRequest) -> HttpResponse:
    """GET /v1/usage?days=N: usage of the key and state of its limits."""
    principal = await authenticated(request)
    return JsonResponse(await usage_of(principal, request.GET.dict()))


async def list_sessions(request: HttpRequest) -> HttpResponse:
    """GET /sessions."""
    return JsonResponse(await sessions.listing(await _principal_of(request)))


async def clean_up(request: HttpRequest) -> HttpResponse:
    """POST /sessions/cleanup, and GET for older clients."""
    return JsonResponse(await sessions.clean_up(await _principal_of(request)))


async def delete_session(request: HttpRequest, conversation_id: str) -> HttpResponse:
    """DELETE /sessions/{id}."""
    deleted = await sessions.delete(await _principal_of(request), conversation_id)
    if not deleted:
        raise ProxyError(FailureKind.NOT_FOUND, "No such session")
    return JsonResponse({"deleted": deleted, "conversationId": conversation_id})


async def _principal_of(request: HttpRequest) -> Principal:
    principal = await authenticated(request)
    if "admin" not in principal.scopes:
        require(principal, scope="api")
    return principal


for prefix, documented in (("/v1", True), ("", False)):
    api.get(prefix + "/usage", include_in_schema=documented)(usage)
    api.get(prefix + "/models", include_in_schema=documented)(list_models)
    api.get(prefix + "/models/{path:model_id}", include_in_schema=documented)(retrieve_model)
api.get("/sessions")(list_sessions)
api.api_operation(["GET", "POST"], "/sessions/cleanup")(clean_up)
api.delete("/sessions/{path:conversation_id}")(delete_session)

register_exception_handlers(api, errors.error_response)
