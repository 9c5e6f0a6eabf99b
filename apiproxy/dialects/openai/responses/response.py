"""Responses objects, for streamed and other answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from apiproxy.dialects.openai.responses.answer_items import output_items
from apiproxy.dialects.openai.responses.call_items import Item
from apiproxy.dialects.openai.responses.output_items import message_item, refusal_part
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.translate.answer import input_tokens, reasoning_tokens, refusal_text, service_tier
from apiproxy.dialects.openai.translate.forced_call import with_call
from apiproxy.dialects.openai.translate.property_keys import restored

_INCOMPLETE: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "pause_turn": "max_output_tokens",
    "refusal": "content_filter",
}


def response_object(message: Mapping[str, Any], reply: ResponsesReply, *, created: int) -> dict[str, Any]:
    """Responses object for an upstream message. created: Unix time in seconds."""
    if reply.forced_call is not None:
        message = with_call(message, reply.forced_call)
    message = restored(message, reply.renamed)
    items = output_items(message, reply)
    if message.get("stop_reason") == "refusal":
        text = refusal_text(message.get("stop_details"))
        items.append(message_item(message["id"], len(message["content"]), [refusal_part(text)]))
    shell = initial_response(message, reply, created=created)
    return finished_response(shell, items, stop_reason=message.get("stop_reason"), usage=message.get("usage") or {})


def initial_response(message: Mapping[str, Any], reply: ResponsesReply, *, created: int) -> dict[str, Any]:
    """Responses object before any output."""
    return {
        "id": reply.response_id or "resp_" + message["id"].removeprefix("msg_"),
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        **reply.echo,
        "model": message["model"],
        "output": [],
        "service_tier": service_tier(message.get("usage") or {}),
        "usage": None,
    }


def finished_response(
    shell: Mapping[str, Any], items: Sequence[Item], *, stop_reason: str | None, usage: Mapping[str, Any]
) -> dict[str, Any]:
    """Responses object with output, token counts and final status."""
    reason = _INCOMPLETE.get(stop_reason or "")
    return {
        **shell,
        "status": "completed" if reason is None else "incomplete",
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": list(items),
        "usage": usage_object(usage),
    }


def usage_object(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Token counts of a Responses object; unreported reasoning tokens are 0."""
    given, written = input_tokens(usage), int(usage.get("output_tokens") or 0)
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": int(usage.get("cache_read_input_tokens") or 0),
            "cache_write_tokens": int(usage.get("cache_creation_input_tokens") or 0),
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens(usage) or 0},
        "total_tokens": given + written,
    }
