"""Endpoints of the OpenAI API, each with and without the prefix `/v1`."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja import NinjaAPI

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import ProxyError
from apiproxy.core.json_encoding import dumps
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Turn
from apiproxy.core.upstream_headers import session_headers
from apiproxy.dialects.openai import errors, models
from apiproxy.dialects.openai.chat.parse import read_chat
from apiproxy.dialects.openai.chat.schemas import Sampled
from apiproxy.dialects.openai.limit_headers import limit_headers
from apiproxy.dialects.openai.prepare import Context, Prepared, ToBody, prepare_chat, prepare_responses
from apiproxy.dialects.openai.responses import store
from apiproxy.dialects.openai.responses.parse import read_responses
from apiproxy.dialects.openai.translate.ignored import HEADER
from apiproxy.dialects.openai.translate.messages_body import Target
from apiproxy.gateway import gateway
from apiproxy.http.body import read_json_object, take_body
from apiproxy.http.exception_handlers import register_exception_handlers
from apiproxy.http.request import authorize, caller_of, publish_rejection, request_id
from apiproxy.http.response import respond
from apiproxy.keys.authentication import require_model
from apiproxy.limits.estimate import default_max_tokens
from apiproxy.sessions.conversation_id import conversation_id
from apiproxy.sessions.recorder import MODE_HEADER

api = NinjaAPI(title="OpenAI dialect", urls_namespace="openai", docs_url=None, openapi_url=None)

RequestT = TypeVar("RequestT", bound=Sampled)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[RequestT]):
    """Functions that parse and translate the body of one of the two APIs."""

    read: Callable[[object], RequestT]
    prepare: Callable[[RequestT, Context], Awaitable[Prepared]]


class OpenAIDialect:
    """`http.response.Dialect` of both APIs."""

    def __init__(self, to_body: ToBody) -> None:
        self._to_body = to_body

    def error_response(self, error: ProxyError, request_id: str) -> HttpResponse:
        return errors.error_response(error)  # the request id is in the headers only

    def plain(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._to_body(message)


_CHAT = Endpoint(read_chat, prepare_chat)
_RESPONSES = Endpoint(read_responses, prepare_responses)


async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    """Create a chat completion, streamed or not."""
    return await _answer(request, _CHAT)


async def responses(request: HttpRequest) -> HttpResponseBase:
    """Create a response, streamed or not."""
    return await _answer(request, _RESPONSES)


async def retrieve_response(request: HttpRequest, response_id: str) -> HttpResponse:
    """Retrieve a stored response of the API key; never streamed."""
    principal = await authorize(request, "openai")
    return _json(await store.retrieve(principal, response_id, request_id=request_id(request)))


async def delete_response(request: HttpRequest, response_id: str) -> HttpResponse:
    """Delete a stored response of the API key."""
    principal = await authorize(request, "openai")
    return _json(await store.delete(principal, response_id, request_id=request_id(request)))


async def chat_models(request: HttpRequest) -> HttpResponse:
    """List the models available to the API key."""
    return await models.list_models(await authorize(request, "openai"))


async def _answer(request: HttpRequest, endpoint: Endpoint[RequestT]) -> HttpResponseBase:
    received_at = time.time()
    principal: Principal | None = None
    body: dict[str, Any] | None = None
    try:
        principal = await authorize(request, "openai")
        raw = take_body(request)
        body_bytes, body = len(raw), await read_json_object(raw)
        del raw
        prepared, turn = await _translated(
            request, endpoint, body, principal=principal, received_at=received_at, body_bytes=body_bytes
        )
        # For a rejection from here on: the client's own body would stay in memory beside its translation.
        body = {**turn.body, "model": turn.requested_model, "stream": turn.stream}
        run, limits = await gateway().runtime.begin(principal, turn, mode=request.headers.get(MODE_HEADER))
    except ProxyError as error:
        publish_rejection(request, error, dialect="openai", principal=principal, body=body)
        raise
    response = await respond(
        run,
        dialect=OpenAIDialect(prepared.to_body),
        encoder=prepared.stream if turn.stream else None,
        heartbeat_s=gateway_settings().heartbeat_ms / 1000,
    )
    for name, value in (limit_headers(limits) | await gateway().sessions.headers(run.turn)).items():
        response[name] = value
    if prepared.translation.ignored:
        response[HEADER] = ", ".join(prepared.translation.ignored)
    return response


async def _translated(
    request: HttpRequest,
    endpoint: Endpoint[RequestT],
    body: dict[str, Any],
    *,
    principal: Principal,
    received_at: float,
    body_bytes: int,
) -> tuple[Prepared, Turn]:
    parsed = await offload(body_bytes, endpoint.read, body)
    model = await gateway().catalog.resolve(parsed.model)
    require_model(principal, model)
    context = Context(
        principal=principal,
        request_id=request_id(request),
        model=model,
        target=Target(model=model.id, max_output_tokens=default_max_tokens(principal.limits, model)),
        strict=gateway_settings().strict,
        created=int(received_at),
        body_bytes=body_bytes,
    )
    prepared = await endpoint.prepare(parsed, context)
    return prepared, _turn(request, prepared, context, requested_model=parsed.model, received_at=received_at)


def _turn(
    request: HttpRequest, prepared: Prepared, context: Context, *, requested_model: str, received_at: float
) -> Turn:
    body = prepared.translation.body
    return Turn(
        id=context.request_id,
        dialect="openai",
        body=body,
        model=context.target.model,
        upstream_model=context.model.upstream_id,
        engine=context.model.engine,
        requested_model=requested_model,
        stream=prepared.translation.stream,
        caller=caller_of(request, context.principal),
        received_at=received_at,
        body_bytes=context.body_bytes + prepared.stored_bytes,
        conversation_id=prepared.stored_id or conversation_id(request.headers, body),
        traceparent=request.headers.get("traceparent"),
        form=prepared.form,
        keeping=prepared.keeping,
        headers=session_headers(request.headers),
    )


def _json(answer: Mapping[str, Any]) -> HttpResponse:
    return HttpResponse(dumps(answer), content_type="application/json")


for prefix, documented in (("/v1", True), ("", False)):
    api.post(prefix + "/chat/completions", include_in_schema=documented)(chat_completions)
    api.get(prefix + "/chat/models", include_in_schema=documented)(chat_models)
    api.post(prefix + "/responses", include_in_schema=documented)(responses)
    api.get(prefix + "/responses/{str:response_id}", include_in_schema=documented)(retrieve_response)
    api.delete(prefix + "/responses/{str:response_id}", include_in_schema=documented)(delete_response)

register_exception_handlers(api, lambda error, _: errors.error_response(error))
