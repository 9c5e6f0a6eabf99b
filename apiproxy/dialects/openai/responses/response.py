"""Responses objects and their output items, for streamed and other answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from apiproxy.dialects.openai.responses.content import encode_thinking
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.translate.answer import (
    THINKING_TYPES,
    arguments,
    input_tokens,
    reasoning_tokens,
    refusal_text,
    service_tier,
)

Status = Literal["in_progress", "completed", "incomplete", "failed"]
Item = dict[str, Any]

_INCOMPLETE: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}


def response_object(message: Mapping[str, Any], reply: ResponsesReply, *, created: int) -> dict[str, Any]:
    """Responses object for an upstream message. created: Unix time in seconds."""
    items = [
        item
        for index, block in enumerate(message["content"])
        if (item := block_item(message["id"], index, block, reply)) is not None
    ]
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


def block_item(message_id: str, index: int, block: Mapping[str, Any], reply: ResponsesReply) -> Item | None:
    """Output item for an upstream block; None if hidden from the client."""
    kind = block["type"]
    if kind == "text" and reply.answer_tool is None:
        return message_item(message_id, index, [text_part(block.get("text") or "")])
    if kind == "tool_use" and block["name"] == reply.answer_tool:
        return message_item(message_id, index, [text_part(arguments(block))])
    if kind == "tool_use":
        return call_item(message_id, index, block, arguments(block))
    if kind in THINKING_TYPES and (reply.reasoning or reply.encrypted):
        return reasoning_item(message_id, index, block, reply)
    return None


def message_item(message_id: str, index: int, content: list[Item], status: Status = "completed") -> Item:
    """Assistant message item."""
    item_id = item_id_for("msg", message_id, index)
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def call_item(
    message_id: str, index: int, tool_use: Mapping[str, Any], text: str, status: Status = "completed"
) -> Item:
    """Function call item. text: arguments as JSON."""
    return {
        "id": item_id_for("fc", message_id, index),
        "type": "function_call",
        "status": status,
        "call_id": tool_use["id"],
        "name": tool_use["name"],
        "arguments": text,
    }


def reasoning_item(message_id: str, index: int, block: Mapping[str, Any], reply: ResponsesReply) -> Item:
    """Reasoning item, with its summary and its `encrypted_content` if requested."""
    text = block.get("thinking") or ""
    item: Item = {
        "id": item_id_for("rs", message_id, index),
        "type": "reasoning",
        "summary": [summary_part(text)] if reply.reasoning and text else [],
    }
    if reply.encrypted:
        item["encrypted_content"] = encode_thinking(block)
    return item


def item_id_for(prefix: str, message_id: str, index: int) -> str:
    """Id of the item for the block at this index; the same whether streamed or not."""
    return f"{prefix}_{message_id.removeprefix('msg_')}_{index}"


def text_part(text: str) -> Item:
    """Text part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Item:
    """Refusal part of a message."""
    return {"type": "refusal", "refusal": text}


def summary_part(text: str) -> Item:
    """Part of a reasoning summary."""
    return {"type": "summary_text", "text": text}
