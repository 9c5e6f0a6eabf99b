"""Responses that a later request can go on from, where the operator and the key let messages be kept.

A response is kept as a conversation of its own, whose id is the response's: so that more than one can follow it. It is
kept as the upstream's message, and written anew when it is asked for.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.core.turns import new_id
from apiproxy.dialects.openai.responses.parse import ResponsesReply, StoredHistory
from apiproxy.dialects.openai.responses.response import response_object
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.translate.ignored import invalid_field
from apiproxy.sessions.recorder import recorder


async def load_history(
    request: ResponsesRequest, principal: Principal, *, request_id: str, body_bytes: int
) -> StoredHistory | None:
    """The id for the new response and the messages up to the previous one; None where nothing is kept for this key.

    Raises ProxyError: INVALID_REQUEST for a previous response that is not there, TOO_LARGE where it and a body of so
    many bytes are more than the API takes or the key may keep, DATABASE_AWAY where the database does not answer.
    """
    may_keep = principal.store_bodies and gateway_settings().sessions.store
    if not may_keep or (request.store is False and request.previous_response_id is None):
        return None
    response_id = new_id("resp_")
    if not await _has_room(request, principal, request_id=request_id, body_bytes=body_bytes):
        return None
    if request.previous_response_id is None:
        return StoredHistory(response_id=response_id)
    previous = request.previous_response_id
    history = await recorder.kept(
        principal.key_id, previous, request_id=request_id, beside=request.input, body_bytes=body_bytes
    )
    if history is None:
        raise invalid_field("previous_response_id", "there is no such response, or its time is over")
    return StoredHistory(response_id=response_id, history=history.messages, size_bytes=history.size_bytes)


async def _has_room(request: ResponsesRequest, principal: Principal, *, request_id: str, body_bytes: int) -> bool:
    """Whether the key's quota has room for the response. Raises ProxyError (TOO_LARGE) where it was to be stored."""
    if request.store is False:
        return True
    try:
        await recorder.require_room(principal.key_id, body_bytes=body_bytes, request_id=request_id)
    except ProxyError as error:
        if error.kind is not FailureKind.TOO_LARGE or request.store or request.previous_response_id is not None:
            raise
        return False  # nobody asked for it: the answer says `store: false`
    return True


def stored_form(reply: ResponsesReply, *, created: int) -> Mapping[str, Any]:
    """What `retrieve` needs beside the upstream's message, as JSON."""
    return {"reply": asdict(reply), "created": created}


async def retrieve(principal: Principal, response_id: str, *, request_id: str) -> dict[str, Any]:
    """The key's stored response. Raises ProxyError: NOT_FOUND, or DATABASE_AWAY where the database does not answer."""
    answer = await recorder.answer(principal.key_id, response_id, request_id=request_id)
    if answer is None:
        raise _not_found(response_id)
    form = answer["form"]
    return response_object(answer["message"], ResponsesReply(**form["reply"]), created=form["created"])


async def delete(principal: Principal, response_id: str, *, request_id: str) -> dict[str, Any]:
    """Forgets the key's stored response. Raises what `retrieve` does."""
    if not await recorder.forget(principal.key_id, response_id, request_id=request_id):
        raise _not_found(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


def _not_found(response_id: str) -> ProxyError:
    message = f"Response with id '{response_id}' not found: it was not stored for this API key, or its time is over."
    return ProxyError(FailureKind.NOT_FOUND, message, param="response_id")
