"""Output items of Responses objects, for streamed and other answers."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from apiproxy.dialects.openai.responses.content import encode_thinking
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.translate.answer import arguments

Status = Literal["in_progress", "completed", "incomplete", "failed"]
Item = dict[str, Any]
Block = Mapping[str, Any]


def block_item(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item | None:
    """Output item for an upstream block; None if hidden from the client."""
    build = _BUILDERS.get(block["type"])
    return build(message_id, index, block, reply) if build is not None else None


def message_item(message_id: str, index: int, content: list[Item], status: Status = "completed") -> Item:
    """Assistant message item."""
    item_id = item_id_for("msg", message_id, index)
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def call_item(message_id: str, index: int, tool_use: Block, text: str, status: Status = "completed") -> Item:
    """Function call item. text: arguments as JSON."""
    return {
        "id": item_id_for("fc", message_id, index),
        "type": "function_call",
        "status": status,
        "call_id": tool_use["id"],
        "name": tool_use["name"],
        "arguments": text,
    }


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


def _text_block(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item | None:
    if reply.answer_tool is not None:
        return None
    return message_item(message_id, index, [text_part(block.get("text") or "")])


def _tool_use(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item:
    text = arguments(block)
    if block["name"] == reply.answer_tool:
        return message_item(message_id, index, [text_part(text)])
    return call_item(message_id, index, block, text)


def _thinking(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item | None:
    return reasoning_item(message_id, index, block, reply) if reply.reasoning or reply.encrypted else None


_BUILDERS: Mapping[str, Callable[[str, int, Block, ResponsesReply], Item | None]] = {
    "text": _text_block,
    "tool_use": _tool_use,
    "thinking": _thinking,
    "redacted_thinking": _thinking,
}
"""By type of the upstream's block."""
