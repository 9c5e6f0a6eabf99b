"""Recent answers: those that a request needs, and how its own answer is kept."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from django.db import connection

from apiproxy.answers.kept import NOTHING, Recalled
from apiproxy.answers.recent import MAX_IDENTIFIERS
from apiproxy.conf import gateway_settings
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Keeping
from apiproxy.db.guarded_query import DatabaseUnavailableError
from apiproxy.dialects.openai.translate.capabilities import capabilities
from apiproxy.dialects.openai.translate.forced_call import with_call
from apiproxy.dialects.openai.translate.messages_body import Reply, Translation
from apiproxy.dialects.openai.translate.reasoning import is_thinking
from apiproxy.gateway import gateway
from apiproxy.http.body import MAX_BODY_BYTES

MAX_RECALLED_BYTES = 16 * 1024 * 1024
"""Recent answers that one request may bring with it; together with its body at most `MAX_BODY_BYTES`."""
_UPSTREAM_CALL = "call toolu_"


def keeps_answers(principal: Principal) -> bool:
    """True if answers of the key are kept for later requests."""
    return gateway_settings().recent_answers.ttl_minutes > 0 and bool(principal.seal_key)


async def recall(
    principal: Principal, needed: Sequence[str], useful: Sequence[str], *, request_id: str, body_bytes: int
) -> Recalled:
    """Find recent answers of the key by their identifiers.

    needed: identifiers without which the request cannot be answered. useful: others, the newest first. Raises
    ProxyError: DATABASE_UNAVAILABLE, if any is needed; INVALID_REQUEST for too many JSON values.
    """
    if not (needed or useful) or not keeps_answers(principal):
        return NOTHING
    shared = gateway_settings().processes > 1 or connection.vendor == "postgresql"
    newest = useful[0] if shared and useful and useful[0].startswith(_UPSTREAM_CALL) else None
    identifiers = [*needed, *useful][:MAX_IDENTIFIERS]
    room_bytes = max(0, min(MAX_RECALLED_BYTES, MAX_BODY_BYTES - body_bytes))
    try:
        return await gateway().answers.find(
            principal, identifiers, needed=needed, hoped=newest, room_bytes=room_bytes, request_id=request_id
        )
    except DatabaseUnavailableError:
        if needed:
            raise
        return NOTHING


def chat_keeping(principal: Principal, translation: Translation, *, store: object) -> Keeping | None:
    """Instructions for storing a chat answer, for the thinking before its tool calls.

    store: the client's field.
    """
    body = translation.body
    thinking = body.get("thinking")
    may_think = is_thinking(thinking) if thinking is not None else capabilities(body["model"]).thinks_by_default
    has_tools = bool(body.get("tools") or translation.reply.forced_call)
    if store is False or not may_think or not has_tools or not keeps_answers(principal):
        return None
    return Keeping(seal_key=principal.seal_key, calls_only=True, rewrite=forced_rewrite(translation.reply))


def forced_rewrite(reply: Reply) -> Callable[[Mapping[str, Any]], Mapping[str, Any]] | None:
    """Function that makes an upstream message the one that the client sees; None if they are the same."""
    return None if reply.forced_call is None else partial(with_call, name=reply.forced_call)
