"""Translation of requests of both APIs, with the stored and recent answers that they need."""

from dataclasses import replace
from typing import Any

from apiproxy.answers.kept import Recalled, call_identifier
from apiproxy.answers.recent import MAX_IDENTIFIERS
from apiproxy.core.offload import offload
from apiproxy.dialects.openai.answering import Context, Prepared
from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.mixed import FlatChatRequest, for_flat_tools
from apiproxy.dialects.openai.chat.parse import translate_chat
from apiproxy.dialects.openai.chat.reasoning import newest_calls, reasoning_request
from apiproxy.dialects.openai.chat.schemas import ChatRequest
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.recent import chat_keeping, recall
from apiproxy.dialects.openai.responses import store
from apiproxy.dialects.openai.responses.compaction import (
    CompactionStream,
    compacted_answer,
    compacted_response,
    retained_items,
)
from apiproxy.dialects.openai.responses.parse import reasoning_request as responses_reasoning
from apiproxy.dialects.openai.responses.parse import translate_responses
from apiproxy.dialects.openai.responses.recent import recall_items, responses_keeping
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.translate.capabilities import capabilities
from apiproxy.dialects.openai.translate.messages_body import Translation
from apiproxy.dialects.openai.translate.reasoning import may_think


async def prepare_chat(request: ChatRequest | ResponsesRequest, context: Context) -> Prepared:
    """Translate a Chat Completions request, which may have the shape of a Responses request."""
    recalled = await _recall_for_chat(request, context)
    size_bytes = context.body_bytes + recalled.size_bytes
    options: dict[str, Any] = {"target": context.target, "strict": context.strict, "recalled": recalled}
    translation: Translation
    if isinstance(request, ResponsesRequest):
        translation, keep = await offload(size_bytes, translate_responses, request, **options), request.store
    else:
        translation = await offload(size_bytes, translate_chat, request, **options)
        keep = (request.model_extra or {}).get("store")
    if isinstance(request, ResponsesRequest | FlatChatRequest):
        translation = for_flat_tools(translation, request.stream_options)
    return Prepared(
        translation=translation,
        stream=ChatStream(translation.reply, created=context.created),
        to_body=lambda message: completion(message, translation.reply, created=context.created),
        stored_bytes=recalled.size_bytes,
        keeping=chat_keeping(context.principal, translation, store=keep),
    )


async def _recall_for_chat(request: ChatRequest | ResponsesRequest, context: Context) -> Recalled:
    principal, request_id, body_bytes = context.principal, context.request_id, context.body_bytes
    able = capabilities(context.target.model)
    if isinstance(request, ResponsesRequest):
        thinks = may_think(responses_reasoning(request, calls_lack_thinking=False), able)
        return await recall_items(request, principal, thinks=thinks, request_id=request_id, body_bytes=body_bytes)
    calls: list[str] = []
    if may_think(reasoning_request(request, calls_lack_thinking=False), able):
        calls = await offload(body_bytes, newest_calls, request.messages, MAX_IDENTIFIERS)
    useful = list(map(call_identifier, calls))
    return await recall(principal, (), useful, request_id=request_id, body_bytes=body_bytes)


async def prepare_responses(request: ResponsesRequest, context: Context) -> Prepared:
    """Translate a Responses request."""
    principal, target, request_id = context.principal, context.target, context.request_id
    stored = await store.load_history(
        request, principal, model=target.answers_model, request_id=request_id, body_bytes=context.body_bytes
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
    stream = CompactionStream if reply.compacts else ResponsesStream
    to_body = compacted_answer if reply.compacts else response_object
    return Prepared(
        translation=translation,
        stream=stream(reply, created=context.created),
        to_body=lambda message: to_body(message, reply, created=context.created),
        stored_id=stored_id,
        stored_bytes=stored_bytes,
        form=form,
        keeping=None if reply.compacts else responses_keeping(principal, request, translation, stored),
        lists_tools=True,
    )


async def prepare_compact(request: ResponsesRequest, context: Context) -> Prepared:
    """Translate a request of POST /v1/responses/compact."""
    prepared = await prepare_responses(request, context)
    messages = prepared.translation.body["messages"]
    body_bytes = context.body_bytes + prepared.stored_bytes
    kept = await offload(body_bytes, retained_items, messages, context.request_id)
    return replace(prepared, to_body=lambda message: compacted_response(message, kept, created=context.created))
