"""Translation of requests of both APIs, with the stored and recent answers that they need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.answers.kept import call_identifier
from apiproxy.answers.recent import MAX_IDENTIFIERS
from apiproxy.catalog import ResolvedModel
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Keeping
from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.parse import translate_chat
from apiproxy.dialects.openai.chat.reasoning import newest_calls, reasoning_request
from apiproxy.dialects.openai.chat.schemas import ChatRequest
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.recent import chat_keeping, recall
from apiproxy.dialects.openai.responses import store
from apiproxy.dialects.openai.responses.parse import reasoning_request as responses_reasoning
from apiproxy.dialects.openai.responses.parse import translate_responses
from apiproxy.dialects.openai.responses.recent import recall_items, responses_keeping
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.translate.capabilities import capabilities
from apiproxy.dialects.openai.translate.messages_body import Target, Translation
from apiproxy.dialects.openai.translate.reasoning import may_think
from apiproxy.http.response import StreamEncoder

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
    stored messages and recent answers in the translation. keeping: see `Turn`.
    """

    translation: Translation
    stream: StreamEncoder
    to_body: ToBody
    stored_id: str | None = None
    form: Mapping[str, Any] | None = None
    stored_bytes: int = 0
    keeping: Keeping | None = None


async def prepare_chat(request: ChatRequest, context: Context) -> Prepared:
    """Translate a Chat Completions request."""
    size_bytes, target = context.body_bytes, context.target
    calls: list[str] = []
    if may_think(reasoning_request(request, calls_lack_thinking=False), capabilities(target.model)):
        calls = await offload(size_bytes, newest_calls, request.messages, MAX_IDENTIFIERS)
    useful = list(map(call_identifier, calls))
    recalled = await recall(context.principal, (), useful, request_id=context.request_id, body_bytes=size_bytes)
    size_bytes += recalled.size_bytes
    translation = await offload(
        size_bytes, translate_chat, request, target=target, strict=context.strict, recalled=recalled
    )
    store_field = (request.model_extra or {}).get("store")
    return Prepared(
        translation=translation,
        stream=ChatStream(translation.reply, created=context.created),
        to_body=lambda message: completion(message, translation.reply, created=context.created),
        stored_bytes=recalled.size_bytes,
        keeping=chat_keeping(context.principal, translation, store=store_field),
    )


async def prepare_responses(request: ResponsesRequest, context: Context) -> Prepared:
    """Translate a Responses request."""
    principal, target, request_id = context.principal, context.target, context.request_id
    stored = await store.load_history(
        request, principal, model=target.model, request_id=request_id, body_bytes=context.body_bytes
    )
    stored_bytes = stored.size_bytes if stored is not None else 0
    thinks = may_think(responses_reasoning(request, calls_lack_thinking=False), capabilities(target.model))
    recalled = await recall_items(
        request, principal, thinks=thinks, request_id=request_id, body_bytes=context.body_bytes + stored_bytes
    )
    stored_bytes += recalled.size_bytes
    translation = await offload(
        context.body_bytes + stored_bytes,
        translate_responses,
        request,
        target=target,
        strict=context.strict,
        stored=stored,
        recalled=recalled,
    )
    reply = translation.reply
    stored_id = reply.response_id if request.store is not False else None
    form = None
    if stored_id is not None:
        form = await offload(context.body_bytes, store.stored_form, reply, created=context.created)
    return Prepared(
        translation=translation,
        stream=ResponsesStream(reply, created=context.created),
        to_body=lambda message: response_object(message, reply, created=context.created),
        stored_id=stored_id,
        stored_bytes=stored_bytes,
        form=form,
        keeping=responses_keeping(principal, request, translation, stored),
    )
