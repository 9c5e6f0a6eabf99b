"""Translation of Responses requests to Messages bodies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.chat.parse import allowed_names, json_object, thinking_blocks
from apiproxy.dialects.openai.chat.schemas import JsonObjectFormat
from apiproxy.dialects.openai.responses.content import blocks, decode_thinking
from apiproxy.dialects.openai.responses.schemas import (
    ITEM,
    AllowedFunctions,
    CallOutputItem,
    CustomCallItem,
    FunctionCallItem,
    Item,
    MessageItem,
    NamedFunction,
    ReasoningItem,
    ReferenceItem,
    ResponsesFunction,
    ResponsesRequest,
    SchemaFormat,
)
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES
from apiproxy.dialects.openai.translate.content import Block, text_blocks
from apiproxy.dialects.openai.translate.conversation import Conversation
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.messages_body import (
    Parts,
    Reply,
    Target,
    Translation,
    assemble,
    report_unknown_fields,
)
from apiproxy.dialects.openai.translate.reasoning import ReasoningRequest
from apiproxy.dialects.openai.translate.structured_output import ANSWER_TOOL, OutputRequest
from apiproxy.dialects.openai.translate.tools import Choice, ToolSpec
from apiproxy.dialects.openai.translate.validation import read

ENCRYPTED_REASONING = "reasoning.encrypted_content"

_DEFAULTS = {"top_logprobs": 0}
_NOT_STORED = "responses are not stored for this API key: send the whole conversation as `input`"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesReply(Reply):
    """Format of a Responses answer.

    echo: request fields repeated in the answer. encrypted: include thinking as `encrypted_content`. response_id: id
    under which the answer is stored; None if it is not stored.
    """

    echo: dict[str, Any]
    encrypted: bool = False
    response_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistory:
    """Id of the response to store, and the stored messages that precede it.

    size_bytes: size of the messages as JSON.
    """

    response_id: str
    history: Sequence[dict[str, Any]] = ()
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesTranslation(Translation):
    """`Translation` whose answer is a Responses object."""

    reply: ResponsesReply


def read_responses(body: object) -> ResponsesRequest:
    """Validate a decoded JSON body.

    Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    return read(ResponsesRequest, body)


def translate_responses(
    request: ResponsesRequest, *, target: Target, strict: bool, stored: StoredHistory | None = None
) -> ResponsesTranslation:
    """Translate a request.

    strict: reject unsupported fields instead of listing them in a header. stored: None if responses are not stored for
    the key. Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    ignored = IgnoredFields(strict=strict)
    _reject_unstored_features(request, stored)
    _report_ignored(request, stored, ignored)
    system, messages = _conversation(request, stored, ignored)
    config = request.reasoning
    shown = config is not None and (config.summary or config.generate_summary) is not None
    parts = Parts(
        system=system,
        messages=messages,
        max_tokens=request.max_output_tokens,
        tools=_tool_specs(request),
        choice=_choice(request),
        parallel=request.parallel_tool_calls is not False,
        reasoning=ReasoningRequest(
            field="reasoning.effort",
            effort=config.effort if config else None,
            thinking=request.thinking,
            shown=shown,
            calls_lack_thinking=_calls_lack_thinking(messages),
        ),
        output=_output_request(request),
    )
    body, answer_tool = assemble(request, parts, target=target, ignored=ignored)
    reply = ResponsesReply(
        answer_tool=answer_tool,
        reasoning=shown,
        encrypted=ENCRYPTED_REASONING in (request.include or ()),
        response_id=stored.response_id if stored is not None else None,
        echo=_echo(request, stored=stored is not None and request.store is not False),
    )
    return ResponsesTranslation(body=body, ignored=ignored.names, reply=reply, stream=bool(request.stream))


def _reject_unstored_features(request: ResponsesRequest, stored: StoredHistory | None) -> None:
    if request.previous_response_id is not None and stored is None:
        raise invalid_field("previous_response_id", _NOT_STORED)
    for field in ("conversation", "prompt"):
        if getattr(request, field) is not None:
            raise invalid_field(field, "conversations and prompts are not stored here")
    if request.background:
        raise invalid_field("background", "background responses are not supported")


def _report_ignored(request: ResponsesRequest, stored: StoredHistory | None, ignored: IgnoredFields) -> None:
    report_unknown_fields(request, _DEFAULTS, ignored)
    if request.store and stored is None:
        ignored.add("store", "responses are not stored for this API key")
    if request.truncation not in (None, "disabled"):
        ignored.add("truncation")
    if set(request.include or ()) - {ENCRYPTED_REASONING}:
        ignored.add("include")
    if request.text is not None and request.text.verbosity not in (None, "medium"):
        ignored.add("text.verbosity")
    if request.reasoning is not None and request.reasoning.mode not in (None, "standard"):
        ignored.add("reasoning.mode")
    if request.stream_options is not None and request.stream_options.include_obfuscation:
        ignored.add("stream_options.include_obfuscation")


def _conversation(
    request: ResponsesRequest, stored: StoredHistory | None, ignored: IgnoredFields
) -> tuple[list[Block], list[dict[str, Any]]]:
    conversation = Conversation(ignored)
    conversation.add_system(text_blocks(request.instructions), "instructions")
    if stored is not None and stored.history:
        conversation.resume(stored.history, answer_tool=ANSWER_TOOL, field="input")
    if isinstance(request.input, str):
        conversation.add_user(text_blocks(request.input), "input")
    else:
        for index, item in enumerate(request.input):
            _add_item(conversation, ITEM.validate_python(item), f"input.{index}", ignored)
    return conversation.finish("input")


def _add_item(conversation: Conversation, item: Item, field: str, ignored: IgnoredFields) -> None:
    match item:
        case MessageItem():
            _add_message(conversation, item, field, ignored)
        case FunctionCallItem():
            arguments = json_object(item.arguments, f"{field}.arguments", conversation.values)
            conversation.add_call(item.call_id, item.name, arguments, f"{field}.call_id")
        case CustomCallItem():
            conversation.add_call(item.call_id, item.name, {"input": item.input}, f"{field}.call_id")
        case CallOutputItem():
            found = blocks(item.output, f"{field}.output", ignored)
            conversation.add_result(item.call_id, found, f"{field}.call_id")
        case ReasoningItem():
            _add_reasoning(conversation, item, field, ignored)
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


def _tool_specs(request: ResponsesRequest) -> Iterator[ToolSpec]:
    for index, declared in enumerate(request.tools or ()):
        if declared.get("type") != "function":
            raise invalid_field(
                f"tools.{index}.type", "must be 'function': built-in and free-form tools are not supported"
            )
        tool = read(ResponsesFunction, declared, within=f"tools.{index}")
        yield ToolSpec(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters,
            strict=bool(tool.strict),
            field=f"tools.{index}",
        )


def _choice(request: ResponsesRequest) -> Choice | None:
    match request.tool_choice:
        case None:
            return None
        case NamedFunction(name=name):
            return Choice(field="tool_choice", name=name)
        case AllowedFunctions(mode=mode, tools=tools):
            return Choice(field="tool_choice", mode=mode, only=allowed_names(tools, "tool_choice"))
        case mode:
            return Choice(field="tool_choice", mode=mode)


def _calls_lack_thinking(messages: Sequence[dict[str, Any]]) -> bool:
    """True if the unfinished turn has tool calls without preceding thinking."""
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    if last is None or isinstance(last["content"], str) or not _answers_calls(messages[-1]):
        return False
    return not any(block["type"] in THINKING_TYPES for block in last["content"])


def _answers_calls(message: dict[str, Any]) -> bool:
    content = message["content"]
    return not isinstance(content, str) and any(block["type"] == "tool_result" for block in content)


def _output_request(request: ResponsesRequest) -> OutputRequest | None:
    match request.text.format if request.text is not None else None:
        case JsonObjectFormat():
            return OutputRequest(field="text.format", schema_field="text.format")
        case SchemaFormat() as wanted:
            return OutputRequest(
                field="text.format",
                schema_field="text.format.schema",
                schema=wanted.schema_,
                strict=bool(wanted.strict),
                description=wanted.description,
            )
        case _:
            return None


def _echo(request: ResponsesRequest, *, stored: bool) -> dict[str, Any]:
    """Request fields that a Responses object repeats, with OpenAI's defaults."""
    given = request.model_dump(include={"text", "reasoning", "tool_choice"}, by_alias=True, exclude_none=True)
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": None, "summary": None, **given.get("reasoning", {})},
        "store": stored,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"}, **given.get("text", {})},
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": request.tools or [],
        "top_p": request.top_p,
        "truncation": "disabled",
        "user": request.user,
    }
