"""Input items of Responses requests as messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.answers.kept import NOTHING, Recalled
from apiproxy.core.turns import Asked
from apiproxy.dialects.openai.responses.client_items import ClientItem, ClientItems
from apiproxy.dialects.openai.responses.content import blocks, decode_thinking
from apiproxy.dialects.openai.responses.item_schemas import (
    ITEM,
    CallOutputItem,
    CompactionItem,
    CompactionTrigger,
    CustomCallItem,
    FunctionCallItem,
    HostedItem,
    MessageItem,
    ReasoningItem,
)
from apiproxy.dialects.openai.responses.references import OtherItem, References
from apiproxy.dialects.openai.responses.reply import StoredHistory
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.sealed_search import is_sealed_search
from apiproxy.dialects.openai.responses.server_history import ServerHistory, ServerItem
from apiproxy.dialects.openai.responses.summary import asks_for_summary, decode_summary, summary_request
from apiproxy.dialects.openai.responses.tools import DeclaredTools
from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.call_arguments import call_arguments
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames
from apiproxy.dialects.openai.translate.content import Block, text_blocks
from apiproxy.dialects.openai.translate.conversation import Conversation
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, header_safe, invalid_field
from apiproxy.dialects.openai.translate.prompt_cache import marked
from apiproxy.dialects.openai.translate.server_tools import ServerTools
from apiproxy.dialects.openai.translate.structured_output import ANSWER_TOOL
from apiproxy.dialects.openai.translate.thinking import put_back, signed_block


@dataclass(frozen=True, slots=True)
class Input:
    """System blocks and messages of a request, stored ones included. asked: see `ResponsesTranslation`."""

    system: list[Block]
    messages: list[dict[str, Any]]
    asked: Asked | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Messages and answers before a request.

    stored: None without any. recalled: recent answers that the input may need.
    """

    stored: StoredHistory | None = None
    recalled: Recalled = NOTHING


def conversation(
    request: ResponsesRequest, known: Known, declared: DeclaredTools, ignored: IgnoredFields, *, model: str
) -> Input:
    """Read the input of the request, after the stored messages, and put thinking of recent answers back.

    declared: tools of the request. model: the model that is asked. Raises ProxyError (INVALID_REQUEST) naming the
    invalid field.
    """
    found = Conversation(ignored)
    stored = known.stored
    found.add_system(text_blocks(request.instructions), "instructions")
    if stored is not None and stored.history:
        found.add_system(list(stored.system), "previous_response_id")
        found.resume(_continued(stored.history, declared.server, ignored), answer_tool=ANSWER_TOOL, field="input")
    if isinstance(request.input, str):
        found.add_user(text_blocks(request.input), "input")
    else:
        references = References(known.recalled, model=model, ignored=ignored)
        _add_items(found, request, declared, references, ignored, continued=stored is not None and bool(stored.history))
    own_system = found.system_blocks("input")
    system, messages = found.finish("input")
    put_back(messages, known.recalled.by_call(), model=model)
    return Input(system, messages, _asked(messages, own_system, stored))


def _add_items(
    found: Conversation,
    request: ResponsesRequest,
    declared: DeclaredTools,
    references: References,
    ignored: IgnoredFields,
    *,
    continued: bool,
) -> None:
    summarizes = asks_for_summary(request)
    client_items = ClientItems(found, declared.names, ignored)
    server_items = ServerHistory(found, declared.server, ignored)
    for index, given in enumerate(map(ITEM.validate_python, request.input[:-1] if summarizes else request.input)):
        item = references.resolve(given, f"input.{index}")
        if isinstance(item, ClientItem):
            client_items.add(item, f"input.{index}")
        elif isinstance(item, ServerItem):
            server_items.add(item)
        elif isinstance(item, ReasoningItem) and is_sealed_search(item.encrypted_content or ""):
            server_items.add_sealed(item.encrypted_content or "")
        elif item is not None:
            _add_item(found, item, f"input.{index}", declared.names, ignored)
    server_items.finish()
    if summarizes:
        if len(request.input) == 1 and not continued:
            raise invalid_field("input", "must have items before the compaction_trigger")
        found.add_user([summary_request()], f"input.{len(request.input) - 1}")


def _asked(messages: list[dict[str, Any]], system: list[Block], stored: StoredHistory | None) -> Asked | None:
    """New part of the messages; None if it cannot be separated.

    None if the client sends the whole conversation itself, or continues within a stored answer.
    """
    history = stored.history if stored is not None else ()
    new = messages[len(history) :]
    if not history:
        return None if any(message["role"] == "assistant" for message in new) else Asked(new, system)
    return Asked(new, system) if _size(messages[len(history) - 1]) == _size(history[-1]) else None


def _size(message: Mapping[str, Any]) -> int:
    """Number of blocks."""
    return 1 if isinstance(message["content"], str) else len(message["content"])


def _continued(history: Sequence[dict[str, Any]], server: ServerTools, ignored: IgnoredFields) -> list[dict[str, Any]]:
    """The stored messages, as far as the request's tools allow."""
    messages = server.continued(history)
    if [len(message["content"]) for message in messages] != [len(message["content"]) for message in history]:
        ignored.add("previous_response_id", "calls of tools that the request does not offer are left out")
    return messages


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
            _add_reasoning(conversation, item, ignored)
        case HostedItem():
            ignored.add(field, header_safe(item.type))
        case CompactionItem():
            _add_summary(conversation, item, field, ignored)
        case CompactionTrigger():
            raise invalid_field(f"{field}.type", "must be the last item")


def _add_message(conversation: Conversation, item: MessageItem, field: str, ignored: IgnoredFields) -> None:
    found = marked(blocks(item.content, f"{field}.content", ignored), item)
    if item.role == "user":
        conversation.add_user(found, f"{field}.content")
        return
    if any(block["type"] != "text" for block in found):
        raise invalid_field(f"{field}.content", f"must be text in a message with the role {item.role}")
    if item.role == "assistant":
        conversation.add_assistant(found)
    else:
        conversation.add_system(found, field)


def _add_reasoning(conversation: Conversation, item: ReasoningItem, ignored: IgnoredFields) -> None:
    """Add thinking of an earlier answer; that of other services is ignored."""
    if not item.encrypted_content:
        return
    block = signed_block(decode_thinking(item.encrypted_content, conversation.values))
    if block is None:
        ignored.add("input.encrypted_content", "not this gateway's")
        return
    conversation.add_assistant([block])


def _add_summary(conversation: Conversation, item: CompactionItem, field: str, ignored: IgnoredFields) -> None:
    """Add the summary of earlier messages; that of other services is ignored."""
    block = decode_summary(item.encrypted_content or "")
    if block is None:
        ignored.add("input.encrypted_content", "not this gateway's")
    else:
        conversation.add_user([block], field)
