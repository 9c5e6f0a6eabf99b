"""Stored responses that later requests can continue.

The settings and the key must both allow storing messages. Each response is stored as a conversation with the response's
id, so that several requests can continue the same one. The upstream's message is stored, and converted when the
response is retrieved.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import new_id
from apiproxy.dialects.openai.recent import keeps_answers
from apiproxy.dialects.openai.responses import input_items
from apiproxy.dialects.openai.responses.input_items import Page
from apiproxy.dialects.openai.responses.recent import has_results, recent_history
from apiproxy.dialects.openai.responses.reply import ResponsesReply, StoredHistory, reply_form, reply_from
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.translate.forced_call import call_content
from apiproxy.dialects.openai.translate.ignored import invalid_field
from apiproxy.gateway import gateway


async def load_history(
    request: ResponsesRequest, principal: Principal, *, model: str, request_id: str, body_bytes: int
) -> StoredHistory | None:
    """Return the new response's id and the stored messages before it.

    For a key whose responses are not stored these are recent answers. None if there are none, and the new response is
    not stored. model: the model that is asked. Raises ProxyError: INVALID_REQUEST for an unknown previous response,
    TOO_LARGE if its messages and the body exceed its limit or the key's storage quota, DATABASE_UNAVAILABLE if the
    database is unavailable.
    """
    previous = request.previous_response_id
    if not principal.store_bodies or not gateway_settings().sessions.store:
        if previous is None or not keeps_answers(principal):
            return None
        return await recent_history(request, principal, model=model, request_id=request_id, body_bytes=body_bytes)
    if request.store is False and previous is None:
        return None
    response_id = new_id("resp_")
    if not await _has_room(request, principal, request_id=request_id, body_bytes=body_bytes):
        return None
    if previous is None:
        return StoredHistory(response_id=response_id)
    history = await gateway().sessions.kept(
        principal.key_id, previous, request_id=request_id, beside=request.input, body_bytes=body_bytes
    )
    if history is None:
        raise invalid_field("previous_response_id", "no such response, or it has expired")
    messages: Sequence[dict[str, Any]] = history.messages
    if has_results(request):
        messages = await _with_forced_call(messages, principal, previous, request_id=request_id)
    return StoredHistory(response_id=response_id, history=messages, size_bytes=history.size_bytes)


async def _with_forced_call(
    messages: Sequence[dict[str, Any]], principal: Principal, response_id: str, *, request_id: str
) -> Sequence[dict[str, Any]]:
    """Stored messages, with the last answer as the call that the client got, if it was a forced one."""
    answer = await gateway().sessions.answer(principal.key_id, response_id, request_id=request_id)
    name = answer["form"]["reply"].get("forced_call") if answer is not None else None
    if answer is None or name is None:
        return messages
    return [*messages[:-1], {"role": "assistant", "content": call_content(answer["message"], name)}]


async def _has_room(request: ResponsesRequest, principal: Principal, *, request_id: str, body_bytes: int) -> bool:
    """True if the response fits the key's quota.

    Raises ProxyError (TOO_LARGE) if storing was requested.
    """
    if request.store is False:
        return True
    try:
        await gateway().sessions.require_room(principal.key_id, body_bytes=body_bytes, request_id=request_id)
    except ProxyError as error:
        if error.kind is not FailureKind.TOO_LARGE or request.store or request.previous_response_id is not None:
            raise
        return False  # storing was not requested; the answer has `store: false`
    return True


def stored_form(reply: ResponsesReply, *, created: int) -> Mapping[str, Any]:
    """JSON data that `retrieve` needs in addition to the upstream's message."""
    return {"reply": reply_form(reply), "created": created}


async def retrieve(principal: Principal, response_id: str, *, request_id: str) -> dict[str, Any]:
    """Return a stored response of the key.

    Raises ProxyError: NOT_FOUND, or DATABASE_UNAVAILABLE.
    """
    answer = await gateway().sessions.answer(principal.key_id, response_id, request_id=request_id)
    if answer is None:
        raise _not_found(response_id)
    form = answer["form"]
    return response_object(answer["message"], reply_from(form["reply"]), created=form["created"])


async def list_input(principal: Principal, response_id: str, page: Page, *, request_id: str) -> bytes:
    """Return a page of the input items of a stored response as JSON.

    Raises ProxyError: NOT_FOUND, INVALID_REQUEST for an unknown item, or DATABASE_UNAVAILABLE.
    """
    answer = await gateway().sessions.answer(principal.key_id, response_id, request_id=request_id)
    history = await gateway().sessions.kept(principal.key_id, response_id, request_id=request_id)
    if answer is None or history is None:
        raise _not_found(response_id)
    # The last message is the answer, unless that was empty.
    messages = history.messages[:-1] if answer["message"]["content"] else history.messages
    called = reply_from(answer["form"]["reply"]).called
    return await offload(history.size_bytes, input_items.list_input, messages, response_id, page, called=called)


async def cancel(principal: Principal, response_id: str, *, request_id: str) -> NoReturn:
    """Raise ProxyError: stored responses cannot be cancelled.

    INVALID_REQUEST for a stored response, NOT_FOUND for an unknown one, or DATABASE_UNAVAILABLE.
    """
    if await gateway().sessions.answer(principal.key_id, response_id, request_id=request_id) is None:
        raise _not_found(response_id)
    raise invalid_field("response_id", "only a response with `background: true` can be cancelled")


async def delete(principal: Principal, response_id: str, *, request_id: str) -> dict[str, Any]:
    """Delete a stored response or a recent answer of the key.

    Raises ProxyError: NOT_FOUND, or DATABASE_UNAVAILABLE.
    """
    stored = await gateway().sessions.forget(principal.key_id, response_id, request_id=request_id)
    if not stored and not await gateway().answers.forget(principal, response_id, request_id=request_id):
        raise _not_found(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


def _not_found(response_id: str) -> ProxyError:
    message = f"Response with id '{response_id}' not found: not stored for this API key, or expired."
    return ProxyError(FailureKind.NOT_FOUND, message, param="response_id")
