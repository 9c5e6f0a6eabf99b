"""Output items of Responses objects, for streamed and other answers."""

from collections.abc import Callable, Mapping
from typing import Any

from apiproxy.dialects.openai.responses.call_items import Item, Status, call_item, item_id_for
from apiproxy.dialects.openai.responses.content import encode_thinking
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.translate.answer import arguments

Block = Mapping[str, Any]


def block_item(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item | None:
    """Output item for an upstream block; None if hidden from the client."""
    build = _BUILDERS.get(block["type"])
    return build(message_id, index, block, reply) if build is not None else None


def message_item(message_id: str, index: int, content: list[Item], status: Status = "completed") -> Item:
    """Assistant message item."""
    item_id = item_id_for("msg", message_id, index)
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def reasoning_item(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item:
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


def mark_cut_off(item: Item) -> None:
    """Set the status of an unfinished item, if it can be incomplete: `apply_patch_call` cannot."""
    if "status" in item and item["type"] != "apply_patch_call":
        item["status"] = "incomplete"


def text_part(text: str) -> Item:
    """Text part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Item:
    """Refusal part of a message."""
    return {"type": "refusal", "refusal": text}


def summary_part(text: str) -> Item:
    """Part of a reasoning summary."""
    return {"type": "summary_text", "text": text}


def _text_block(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item | None:
    if reply.answer_tool is not None:
        return None
    return message_item(message_id, index, [text_part(block.get("text") or "")])


def _tool_use(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item:
    text = arguments(block)
    if block["name"] == reply.answer_tool:
        return message_item(message_id, index, [text_part(text)])
    return call_item(message_id, index, block, reply.called.get(block["name"]), text)


def _thinking(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item | None:
    return reasoning_item(message_id, index, block, reply) if reply.reasoning or reply.encrypted else None


_BUILDERS: Mapping[str, Callable[[str, int, Block, ResponsesReply], Item | None]] = {
    "text": _text_block,
    "tool_use": _tool_use,
    "thinking": _thinking,
    "redacted_thinking": _thinking,
}
"""By type of the upstream's block."""
