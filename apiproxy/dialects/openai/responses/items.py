"""Input items of Responses requests as messages."""

from collections.abc import Sequence
from typing import Any

from apiproxy.dialects.openai.chat.parse import thinking_blocks
from apiproxy.dialects.openai.responses.client_items import ClientItem, ClientItems
from apiproxy.dialects.openai.responses.content import blocks, decode_thinking
from apiproxy.dialects.openai.responses.item_schemas import (
    ITEM,
    CallOutputItem,
    CustomCallItem,
    FunctionCallItem,
    HostedItem,
    MessageItem,
    ReasoningItem,
    ReferenceItem,
)
from apiproxy.dialects.openai.responses.reply import StoredHistory
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES
from apiproxy.dialects.openai.translate.call_arguments import call_arguments
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames
from apiproxy.dialects.openai.translate.content import Block, text_blocks
from apiproxy.dialects.openai.translate.conversation import Conversation
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, header_safe, invalid_field
from apiproxy.dialects.openai.translate.structured_output import ANSWER_TOOL

OtherItem = (
    MessageItem | FunctionCallItem | CustomCallItem | CallOutputItem | ReasoningItem | ReferenceItem | HostedItem
)


def conversation(
    request: ResponsesRequest, stored: StoredHistory | None, names: ToolNames, ignored: IgnoredFields
) -> tuple[list[Block], list[dict[str, Any]]]:
    """System blocks and messages of the request, after the stored messages.

    names: upstream names of its tools. Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    found = Conversation(ignored)
    found.add_system(text_blocks(request.instructions), "instructions")
    if stored is not None and stored.history:
        found.resume(stored.history, answer_tool=ANSWER_TOOL, field="input")
    if isinstance(request.input, str):
        found.add_user(text_blocks(request.input), "input")
    else:
        client_items = ClientItems(found, names, ignored)
        for index, item in enumerate(map(ITEM.validate_python, request.input)):
            if isinstance(item, ClientItem):
                client_items.add(item, f"input.{index}")
            else:
                _add_item(found, item, f"input.{index}", names, ignored)
    return found.finish("input")


def _add_item(
    conversation: Conversation, item: OtherItem, field: str, names: ToolNames, ignored: IgnoredFields
) -> None:
    match item:
        case MessageItem():
            _add_message(conversation, item, field, ignored)
        case FunctionCallItem():
            tool = CalledTool(kind=ToolKind.FUNCTION, name=item.name, namespace=item.namespace)
            arguments = call_arguments(
                item.arguments, f"{field}.arguments", values=conversation.values, ignored=ignored
            )
            conversation.add_call(item.call_id, names.of_call(tool), arguments, f"{field}.call_id")
        case CustomCallItem():
            tool = CalledTool(kind=ToolKind.CUSTOM, name=item.name, namespace=item.namespace)
            arguments = {free_form.PARAMETER: item.input}
            conversation.add_call(item.call_id, names.of_call(tool), arguments, f"{field}.call_id")
        case CallOutputItem():
            found = blocks(item.output, f"{field}.output", ignored)
            conversation.add_result(item.call_id, found, f"{field}.call_id")
        case ReasoningItem():
            _add_reasoning(conversation, item, field, ignored)
        case HostedItem():
            ignored.add(field, header_safe(item.type))
        case ReferenceItem():
            raise invalid_field(f"{field}.type", "items are not stored here: send the full item")


def _add_message(conversation: Conversation, item: MessageItem, field: str, ignored: IgnoredFields) -> None:
    found = blocks(item.content, f"{field}.content", ignored)
    if item.role == "user":
        conversation.add_user(found, f"{field}.content")
        return
    if any(block["type"] != "text" for block in found):
        raise invalid_field(f"{field}.content", f"must be text in a message with the role {item.role}")
    if item.role == "assistant":
        conversation.add_assistant(found)
    else:
        conversation.add_system(found, field)


def _add_reasoning(conversation: Conversation, item: ReasoningItem, field: str, ignored: IgnoredFields) -> None:
    """Add thinking of an earlier answer; that of other services is ignored."""
    block = decode_thinking(item.encrypted_content, conversation.values) if item.encrypted_content else None
    if block is None:
        if item.encrypted_content:
            ignored.add("input.encrypted_content", "not this gateway's")
        return
    conversation.add_assistant(thinking_blocks([block], f"{field}.encrypted_content"))


def calls_lack_thinking(messages: Sequence[dict[str, Any]]) -> bool:
    """True if the unfinished turn has tool calls without preceding thinking."""
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    if last is None or isinstance(last["content"], str) or not _answers_calls(messages[-1]):
        return False
    return not any(block["type"] in THINKING_TYPES for block in last["content"])


def _answers_calls(message: dict[str, Any]) -> bool:
    content = message["content"]
    return not isinstance(content, str) and any(block["type"] == "tool_result" for block in content)
