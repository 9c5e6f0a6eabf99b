"""Responses that a later request can go on from, where the operator and the key let messages be kept.

A response is kept as a conversation of its own, whose id is the response's: so that more than one can follow it.
"""

from apiproxy.conf import gateway_settings
from apiproxy.dialects.openai.ignored import refuse
from apiproxy.dialects.openai.responses_parse import Kept
from apiproxy.dialects.openai.responses_schemas import ResponsesRequest
from apiproxy.keys import Principal
from apiproxy.sessions.recorder import recorder
from apiproxy.turns import new_id


async def kept(request: ResponsesRequest, principal: Principal, *, request_id: str) -> Kept | None:
    """The id for the new response and the messages up to the previous one; None where nothing is kept for this key.

    Raises ProxyError: INVALID_REQUEST for a previous response that is not there, QUEUE_TIMEOUT where the database does
    not answer.
    """
    may_keep = principal.store_bodies and gateway_settings().sessions.store
    if not may_keep or (request.store is False and request.previous_response_id is None):
        return None
    response_id = new_id("resp_")
    if request.previous_response_id is None:
        return Kept(response_id=response_id)
    history = await recorder.kept(principal.key_id, request.previous_response_id, request_id=request_id)
    if not history:
        raise refuse("previous_response_id", "there is no such response, or its time is over")
    return Kept(response_id=response_id, history=history)
