"""One request of any endpoint that makes a turn: read, translate, run, respond."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apiproxy.catalog import ResolvedModel
from apiproxy.conf import gateway_settings
from apiproxy.core.errors import ProxyError
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Keeping, Turn
from apiproxy.core.upstream_headers import session_headers
from apiproxy.dialects.openai import errors
from apiproxy.dialects.openai.agent_rules import agent_request
from apiproxy.dialects.openai.chat.schemas import Sampled
from apiproxy.dialects.openai.limit_headers import limit_headers
from apiproxy.dialects.openai.server_tool_offer import offer_to
from apiproxy.dialects.openai.translate.ignored import HEADER
from apiproxy.dialects.openai.translate.messages_body import Target, Translation
from apiproxy.dialects.openai.translate.prompt_cache import HEADER as CACHE_HEADER
from apiproxy.dialects.openai.translate.prompt_cache import cache_mode
from apiproxy.gateway import gateway
from apiproxy.http.body import read_json_object, received_body
from apiproxy.http.request import authorize, caller_of, publish_rejection, request_id
from apiproxy.http.response import StreamEncoder, respond
from apiproxy.keys.authentication import require_model
from apiproxy.limits.estimate import default_max_tokens
from apiproxy.sessions.conversation_id import conversation_id
from apiproxy.sessions.recorder import MODE_HEADER

_MARKED_BLOCKS = ("bedrock", "vertex")
"""Upstreams that take `cache_control` on blocks only.
Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""

RequestT = TypeVar("RequestT", bound=Sampled)
ToBody = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Request data besides the parsed body.

    model: as named by the client, after alias resolution. body_bytes: size of the body. created: Unix time in seconds.
    """

    principal: Principal
    request_id: str
    model: ResolvedModel
    target: Target
    strict: bool
    created: int
    body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Translated request and the encoders of its answer.

    stored_id, form: id and response data to store the answer with; None if it is not stored. stored_bytes: size of the
    stored messages and recent answers in the translation. keeping: see `Turn`. lists_tools: the answer shows an
    agent's tools.
    """

    translation: Translation
    stream: StreamEncoder
    to_body: ToBody
    stored_id: str | None = None
    form: Mapping[str, Any] | None = None
    stored_bytes: int = 0
    keeping: Keeping | None = None
    lists_tools: bool = False


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


async def answer(request: HttpRequest, endpoint: Endpoint[RequestT]) -> HttpResponseBase:
    """Answer a request through its endpoint. Raises ProxyError for one that is rejected before its run."""
    received_at = time.time()
    principal: Principal | None = None
    body: dict[str, Any] | None = None
    try:
        principal = await authorize(request, "openai")
        raw = await received_body(request)
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
    if model.agent is not None:
        parsed = await offload(body_bytes, agent_request, parsed, model.agent)
    context = Context(
        principal=principal,
        request_id=request_id(request),
        model=model,
        target=_target(request, principal, model),
        strict=gateway_settings().strict,
        created=int(received_at),
        body_bytes=body_bytes,
    )
    prepared = await endpoint.prepare(parsed, context)
    return prepared, _turn(request, prepared, context, requested_model=parsed.model, received_at=received_at)


def _target(request: HttpRequest, principal: Principal, model: ResolvedModel) -> Target:
    cache = cache_mode(
        request.headers.get(CACHE_HEADER, ""),
        by_default=principal.cache_prompts,
        on_blocks=gateway_settings().credential.kind in _MARKED_BLOCKS,
    )
    return Target(
        model=model.inner_id,
        kept_as=model.usage_name,
        max_output_tokens=default_max_tokens(principal.limits, model),
        server_tools=offer_to(principal, model),
        cache=cache,
    )


def _turn(
    request: HttpRequest, prepared: Prepared, context: Context, *, requested_model: str, received_at: float
) -> Turn:
    body = prepared.translation.body
    model = context.model
    return Turn(
        id=context.request_id,
        dialect="openai",
        body=body,
        model=model.usage_name,
        upstream_model=model.upstream_id if model.agent is None else model.inner_id,
        engine=model.engine,
        agent=model.agent,
        lists_tools=prepared.lists_tools,
        requested_model=requested_model,
        stream=prepared.translation.stream,
        caller=caller_of(request, context.principal),
        received_at=received_at,
        body_bytes=context.body_bytes + prepared.stored_bytes,
        betas=prepared.translation.betas,
        conversation_id=prepared.stored_id or conversation_id(request.headers, body),
        traceparent=request.headers.get("traceparent"),
        form=prepared.form,
        keeping=prepared.keeping,
        headers=session_headers(request.headers),
    )
