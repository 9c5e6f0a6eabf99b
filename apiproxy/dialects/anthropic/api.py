"""Endpoints of the Messages API, each with and without the prefix `/v1`."""

import time
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja import NinjaAPI

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import ProxyError
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import RawBody, Turn
from apiproxy.core.upstream_headers import BETA_HEADER, api_version, client_headers
from apiproxy.dialects.agent_rules import check_agent_body
from apiproxy.dialects.anthropic import count_tokens, errors
from apiproxy.dialects.anthropic.limit_headers import limit_headers
from apiproxy.dialects.anthropic.parse import check_body, check_thread, sent_betas, with_default_max_tokens
from apiproxy.dialects.anthropic.raw_body import body_for_upstream
from apiproxy.dialects.anthropic.stream import AnthropicStream
from apiproxy.gateway import gateway
from apiproxy.http.body import read_json_object, received_body
from apiproxy.http.exception_handlers import register_exception_handlers
from apiproxy.http.request import authorize, caller_of, publish_rejection, request_id
from apiproxy.http.response import respond
from apiproxy.keys.authentication import require_model
from apiproxy.limits.estimate import default_max_tokens
from apiproxy.sessions.conversation_id import conversation_id
from apiproxy.sessions.recorder import MODE_HEADER

api = NinjaAPI(title="Anthropic dialect", urls_namespace="anthropic", docs_url=None, openapi_url=None)


class AnthropicDialect:
    """`http.response.Dialect` of the Messages API."""

    def error_response(self, error: ProxyError, request_id: str) -> HttpResponse:
        return errors.error_response(error, request_id)

    def plain(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        return message


async def messages(request: HttpRequest) -> HttpResponseBase:
    """Create a message, streamed or not."""
    received_at = time.time()
    principal: Principal | None = None
    body: dict[str, Any] | None = None
    try:
        principal = await authorize(request, "anthropic")
        raw = await received_body(request)
        body = await read_json_object(raw)
        turn = await _turn(request, principal, raw, body, received_at=received_at)
        del raw
        check_thread(body, turn.engine)
        run, limits = await gateway().runtime.begin(principal, turn, mode=request.headers.get(MODE_HEADER))
    except ProxyError as error:
        publish_rejection(request, error, dialect="anthropic", principal=principal, body=body)
        raise
    encoder = AnthropicStream(turn.id) if turn.stream else None
    heartbeat_s = gateway_settings().heartbeat_ms / 1000
    response = await respond(run, dialect=AnthropicDialect(), encoder=encoder, heartbeat_s=heartbeat_s)
    for name, value in (limit_headers(limits) | await gateway().sessions.headers(run.turn)).items():
        response[name] = value
    return response


async def _turn(
    request: HttpRequest, principal: Principal, raw: bytes, body: dict[str, Any], *, received_at: float
) -> Turn:
    body_bytes = len(raw)
    version, betas = api_version(request.headers), sent_betas(request.headers.get(BETA_HEADER))
    checked = await offload(body_bytes, check_body, body)
    model = await gateway().catalog.resolve(checked.model)
    require_model(principal, model)
    if model.agent is not None:
        await offload(body_bytes, check_agent_body, model.agent, body)
    max_tokens = default_max_tokens(principal.limits, model)
    upstream_body = None
    if model.engine == "http":
        upstream_model = model.upstream_id or model.id
        upstream_body = await offload(
            body_bytes, body_for_upstream, raw, body, model=upstream_model, max_tokens=max_tokens
        )
    return Turn(
        id=request_id(request),
        dialect="anthropic",
        body=with_default_max_tokens(body, max_output_tokens=max_tokens),
        model=model.usage_name,
        requested_model=checked.model,
        upstream_model=model.upstream_id if model.agent is None else model.inner_id,
        engine=model.engine,
        agent=model.agent,
        stream=bool(checked.stream),
        caller=caller_of(request, principal),
        received_at=received_at,
        body_bytes=body_bytes,
        betas=betas,
        api_version=version,
        headers=client_headers(request.headers, betas=betas),
        conversation_id=conversation_id(request.headers, body),
        traceparent=request.headers.get("traceparent"),
        raw_body=None if upstream_body is None else RawBody(upstream_body),
        verbatim=model.agent is None,
        beta_api=request.GET.get("beta") == "true",
    )


async def count(request: HttpRequest) -> HttpResponse:
    """Count the input tokens of a message."""
    return await count_tokens.count_tokens(request, await authorize(request, "anthropic"))


for prefix, documented in (("/v1", True), ("", False)):
    api.post(prefix + "/messages", include_in_schema=documented)(messages)
    api.post(prefix + "/messages/count_tokens", include_in_schema=documented)(count)

register_exception_handlers(api, errors.error_response)
