"""GET /v1/models and /v1/models/{id}, which clients of both APIs read."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse

from apiproxy.account.either_errors import error_response
from apiproxy.core.errors import ProxyError
from apiproxy.core.principal import Principal
from apiproxy.core.upstream_headers import VERSION_HEADER
from apiproxy.dialects.anthropic import models as anthropic
from apiproxy.dialects.openai import codex_models
from apiproxy.http.request import authenticated, authorize
from apiproxy.keys.authentication import require


async def list_models(request: HttpRequest) -> HttpResponse:
    """List the models available to the API key; with `client_version` in the format of Codex."""
    if "client_version" in request.GET and VERSION_HEADER not in request.headers:
        return await _answered(request, codex_models.list_models)
    return await _answered(request, lambda principal: anthropic.list_models(request, principal))


async def retrieve_model(request: HttpRequest, model_id: str) -> HttpResponse:
    """Retrieve a model."""
    return await _answered(request, lambda principal: anthropic.retrieve_model(request, principal, model_id))


async def _answered(request: HttpRequest, view: Callable[[Principal], Awaitable[HttpResponse]]) -> HttpResponse:
    try:
        return await view(await _principal(request))
    except ProxyError as error:
        return error_response(error, request)


async def _principal(request: HttpRequest) -> Principal:
    """Caller of the API that its headers tell; without a version it may be either."""
    if VERSION_HEADER in request.headers:
        return await authorize(request, "anthropic")
    principal = await authenticated(request)
    require(principal, scope="api")
    return principal
