"""Endpoints of the OpenAI API, each with and without the prefix `/v1`."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja import NinjaAPI

from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.openai import errors, models
from apiproxy.dialects.openai.answering import Endpoint, answer
from apiproxy.dialects.openai.chat.mixed import (
    as_responses_body,
    is_responses_body,
    read_flat_chat,
)
from apiproxy.dialects.openai.chat.schemas import ChatRequest
from apiproxy.dialects.openai.prepare import prepare_chat, prepare_compact, prepare_responses
from apiproxy.dialects.openai.responses import store
from apiproxy.dialects.openai.responses.compaction import (
    read_compact,
)
from apiproxy.dialects.openai.responses.input_items import read_page
from apiproxy.dialects.openai.responses.input_tokens import count_input
from apiproxy.dialects.openai.responses.parse import read_responses
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.http.exception_handlers import register_exception_handlers
from apiproxy.http.request import authorize, request_id

api = NinjaAPI(title="OpenAI dialect", urls_namespace="openai", docs_url=None, openapi_url=None)


def _read_chat(body: object) -> ChatRequest | ResponsesRequest:
    return read_responses(as_responses_body(body)) if is_responses_body(body) else read_flat_chat(body)


_CHAT = Endpoint(_read_chat, prepare_chat)
_RESPONSES = Endpoint(read_responses, prepare_responses)
_COMPACT = Endpoint(read_compact, prepare_compact)


async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    """Create a chat completion, streamed or not."""
    return await answer(request, _CHAT)


async def responses(request: HttpRequest) -> HttpResponseBase:
    """Create a response, streamed or not."""
    return await answer(request, _RESPONSES)


async def compact_response(request: HttpRequest) -> HttpResponseBase:
    """Replace a conversation by the user's messages and a summary; never streamed."""
    return await answer(request, _COMPACT)


async def retrieve_response(request: HttpRequest, response_id: str) -> HttpResponse:
    """Retrieve a stored response of the API key; never streamed."""
    principal = await authorize(request, "openai")
    return _json(await store.retrieve(principal, response_id, request_id=request_id(request)))


async def delete_response(request: HttpRequest, response_id: str) -> HttpResponse:
    """Delete a stored response of the API key."""
    principal = await authorize(request, "openai")
    return _json(await store.delete(principal, response_id, request_id=request_id(request)))


async def list_input_items(request: HttpRequest, response_id: str) -> HttpResponse:
    """List the input items of a stored response of the API key."""
    principal = await authorize(request, "openai")
    page = read_page(request.GET.dict())
    return _json(await store.list_input(principal, response_id, page, request_id=request_id(request)))


async def cancel_response(request: HttpRequest, response_id: str) -> HttpResponse:
    """Refuse to cancel a stored response of the API key: it is complete."""
    principal = await authorize(request, "openai")
    await store.cancel(principal, response_id, request_id=request_id(request))


async def input_tokens(request: HttpRequest) -> HttpResponse:
    """Count the input tokens of a response."""
    return await count_input(request, await authorize(request, "openai"))


async def chat_models(request: HttpRequest) -> HttpResponse:
    """List the models available to the API key."""
    return await models.list_models(await authorize(request, "openai"))


def _json(answer: Mapping[str, Any] | bytes) -> HttpResponse:
    content = answer if isinstance(answer, bytes) else dumps(answer)
    return HttpResponse(content, content_type="application/json")


for prefix, documented in (("/v1", True), ("", False)):
    api.post(prefix + "/chat/completions", include_in_schema=documented)(chat_completions)
    api.get(prefix + "/chat/models", include_in_schema=documented)(chat_models)
    api.post(prefix + "/responses", include_in_schema=documented)(responses)
    api.post(prefix + "/responses/compact", include_in_schema=documented)(compact_response)
    api.post(prefix + "/responses/input_tokens", include_in_schema=documented)(input_tokens)
    api.get(prefix + "/responses/{str:response_id}/input_items", include_in_schema=documented)(list_input_items)
    api.post(prefix + "/responses/{str:response_id}/cancel", include_in_schema=documented)(cancel_response)
    api.get(prefix + "/responses/{str:response_id}", include_in_schema=documented)(retrieve_response)
    api.delete(prefix + "/responses/{str:response_id}", include_in_schema=documented)(delete_response)

register_exception_handlers(api, lambda error, _: errors.error_response(error))
