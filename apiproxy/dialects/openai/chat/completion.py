"""Chat completions for non-streaming requests."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.annotations import chat_annotations, cited_text
from apiproxy.dialects.openai.translate.answer import (
    SYSTEM_FINGERPRINT,
    THINKING_TYPES,
    arguments,
    chat_usage,
    completion_id,
    finish_reason,
    refusal_text,
    service_tier,
)
from apiproxy.dialects.openai.translate.called_tools import ToolKind
from apiproxy.dialects.openai.translate.forced_call import with_call
from apiproxy.dialects.openai.translate.messages_body import Reply
from apiproxy.dialects.openai.translate.property_keys import restored
from apiproxy.dialects.openai.translate.tool_activity import CALL, PARAGRAPH, RESULT, ToolActivity


def completion(message: Mapping[str, Any], reply: Reply, *, created: int) -> dict[str, Any]:
    """Convert an upstream message to a chat completion. created: Unix time in seconds."""
    if reply.forced_call is not None:
        message = with_call(message, reply.forced_call)
    message = restored(message, reply.renamed)
    blocks: Sequence[Mapping[str, Any]] = message["content"]
    uses = [block for block in blocks if block["type"] == "tool_use"]
    calls = [use for use in uses if use["name"] != reply.answer_tool]
    usage = message.get("usage") or {}
    reason = finish_reason(message.get("stop_reason"), calls=bool(calls), legacy=reply.legacy_function)
    answer: dict[str, Any] = {
        "id": completion_id(message["id"]),
        "object": "chat.completion",
        "created": created,
        "model": message["model"],
        "choices": [
            {
                "index": 0,
                "message": _message(message, calls, reply, refused=reason == "content_filter"),
                "logprobs": None,
                "finish_reason": reason,
            }
        ],
        "usage": chat_usage(usage, has_thinking=any(block["type"] in THINKING_TYPES for block in blocks)),
        "system_fingerprint": SYSTEM_FINGERPRINT,
    }
    if (tier := service_tier(usage)) is not None:
        answer["service_tier"] = tier
    return answer


def _message(
    message: Mapping[str, Any], calls: Sequence[Mapping[str, Any]], reply: Reply, *, refused: bool
) -> dict[str, Any]:
    blocks = message["content"]
    text_blocks = [block for block in blocks if block["type"] == "text"]
    texts = list(_texts(blocks, reply))
    result: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not (calls or refused) else None,
        "refusal": refusal_text(message.get("stop_details")) if refused else None,
    }
    if reply.legacy_function and calls:
        result["function_call"] = {"name": calls[0]["name"], "arguments": arguments(calls[0])}
    elif calls:
        result["tool_calls"] = [_call(call, reply) for call in calls]
    if reply.answer_tool is None and (annotations := cited_text(text_blocks).annotations):
        result["annotations"] = chat_annotations(annotations)
    thoughts = [block for block in blocks if block["type"] in THINKING_TYPES]
    if reply.reasoning and (reasoning := _reasoning(blocks)) is not None:
        result["reasoning_content"] = reasoning
    if reply.reasoning and thoughts:
        result["thinking_blocks"] = [{"index": index, **block} for index, block in enumerate(thoughts)]
    return result


def _reasoning(blocks: Sequence[Mapping[str, Any]]) -> str | None:
    """Thinking, and what server tools did; None if there is neither."""
    activity = ToolActivity()
    parts = [
        block.get("thinking", "") if block["type"] in THINKING_TYPES else activity.paragraph(block)
        for block in blocks
        if block["type"] in THINKING_TYPES or block["type"] in (CALL, RESULT)
    ]
    return "".join(parts) if parts else None


def _call(tool_use: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
    tool = reply.called.get(tool_use["name"])
    if tool is not None and tool.kind is ToolKind.CUSTOM:
        custom = {"name": tool.name, "input": free_form.free_form_input(tool_use.get("input"))}
        both = {"function": {"name": tool.name, "arguments": custom["input"]}} if reply.custom_as_function else {}
        return {"id": tool_use["id"], "type": "custom", "custom": custom, **both}
    function = {"name": tool_use["name"], "arguments": arguments(tool_use)}
    return {"id": tool_use["id"], "type": "function", "function": function}


def _texts(blocks: Sequence[Mapping[str, Any]], reply: Reply) -> Iterator[str]:
    """Texts of the answer. Those before and after a call of a server tool are paragraphs."""
    begun = called = False
    for block in blocks:
        called |= block["type"] == CALL
        if (text := _text(block, reply)) is not None:
            yield PARAGRAPH + text if begun and called else text
            begun, called = True, False


def _text(block: Mapping[str, Any], reply: Reply) -> str | None:
    if block["type"] == "text" and reply.answer_tool is None:
        return str(block["text"])
    if block["type"] == "tool_use" and block["name"] == reply.answer_tool:
        return arguments(block)
    return None
