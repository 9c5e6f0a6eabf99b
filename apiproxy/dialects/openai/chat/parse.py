"""Translation of Chat Completions requests to Messages bodies."""

from typing import Any

from apiproxy.answers.kept import NOTHING, Recalled
from apiproxy.dialects.openai.chat.reasoning import reasoning_request
from apiproxy.dialects.openai.chat.schemas import (
    MESSAGE,
    AssistantMessage,
    ChatRequest,
    FunctionMessage,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from apiproxy.dialects.openai.chat.tools import declared_tools, tool_choice
from apiproxy.dialects.openai.chat.web_search import search_tools
from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.call_arguments import call_arguments
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames
from apiproxy.dialects.openai.translate.content import Block, cache_mark, content_blocks, text_blocks
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
from apiproxy.dialects.openai.translate.prompt_cache import marked
from apiproxy.dialects.openai.translate.sampling import stop_sequences
from apiproxy.dialects.openai.translate.structured_output import OutputRequest
from apiproxy.dialects.openai.translate.thinking import (
    UnsignedThinking,
    calls_lack_thinking,
    given_thinking,
    put_back,
    report_unsigned,
)
from apiproxy.dialects.openai.translate.validation import read

_DEFAULTS = {
    "top_logprobs": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "modalities": ["text"],
    "verbosity": "medium",
}
_FUNCTION_CALL_ID_PREFIX = "function_call_"


def read_chat(body: object) -> ChatRequest:
    """Validate a decoded JSON body.

    Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    return read(ChatRequest, body)


def translate_chat(request: ChatRequest, *, target: Target, strict: bool, recalled: Recalled = NOTHING) -> Translation:
    """Translate a request.

    strict: reject unsupported fields instead of listing them in a header. recalled: recent answers that the messages
    may have come from. Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    ignored = IgnoredFields(strict=strict)
    report_unknown_fields(request, _DEFAULTS, ignored)
    if request.n is not None and request.n > 1:
        ignored.add("n", "one choice")
    if request.stream_options is not None and request.stream_options.include_obfuscation:
        ignored.add("stream_options.include_obfuscation")
    declared = declared_tools(request, ignored)
    server_tools = search_tools(request, target.server_tools, ignored)
    system, messages = _conversation(request, declared.names, recalled, ignored, model=target.answers_model)
    reasoning = reasoning_request(request, calls_lack_thinking=calls_lack_thinking(messages))
    legacy = bool(request.functions)
    parts = Parts(
        system=system,
        messages=messages,
        messages_field="messages",
        max_tokens=request.max_completion_tokens or request.max_tokens,
        tools=declared.specs,
        choice=tool_choice(request, declared),
        parallel=request.parallel_tool_calls is not False and not legacy,
        reasoning=reasoning,
        output=_output_request(request),
        stop=stop_sequences(request.stop, ignored),
        server_tools=server_tools,
    )
    assembled = assemble(request, parts, target=target, ignored=ignored)
    reply = Reply(
        answer_tool=assembled.answer_tool,
        forced_call=assembled.forced_call,
        called=declared.names.called,
        renamed=assembled.renamed,
        reasoning=reasoning.shown,
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
        legacy_function=legacy,
    )
    return Translation(
        body=assembled.body,
        ignored=ignored.names,
        reply=reply,
        stream=bool(request.stream),
        betas=server_tools.betas,
    )


def _conversation(
    request: ChatRequest, names: ToolNames, recalled: Recalled, ignored: IgnoredFields, *, model: str
) -> tuple[list[Block], list[dict[str, Any]]]:
    """System blocks and messages, with the thinking of recent answers put back."""
    conversation = Conversation(ignored)
    unsigned: UnsignedThinking = []
    for index, message in enumerate(map(MESSAGE.validate_python, request.messages)):
        _add_message(conversation, message, f"messages.{index}", names, unsigned, ignored)
    system, messages = conversation.finish("messages")
    completed = put_back(messages, recalled.by_call(), model=model)
    report_unsigned(unsigned, completed, ignored)
    return system, messages


def _add_message(
    conversation: Conversation,
    message: Message,
    field: str,
    names: ToolNames,
    unsigned: UnsignedThinking,
    ignored: IgnoredFields,
) -> None:
    if not isinstance(message, ToolMessage | FunctionMessage) and message.name:
        ignored.add("messages.name")
    match message:
        case SystemMessage():
            conversation.add_system(marked(text_blocks(message.content), message), field)
        case UserMessage():
            content = f"{field}.content"
            conversation.add_user(marked(content_blocks(message.content, content, ignored), message), content)
        case AssistantMessage():
            _add_assistant(conversation, message, field, names, unsigned, ignored)
            conversation.mark_answer(cache_mark(message))
        case ToolMessage():
            blocks = content_blocks(message.content, f"{field}.content", ignored)
            conversation.add_result(message.tool_call_id, marked(blocks, message), f"{field}.tool_call_id")
        case FunctionMessage():
            conversation.add_result(
                _FUNCTION_CALL_ID_PREFIX + message.name, text_blocks(message.content), f"{field}.name"
            )


def _add_assistant(
    conversation: Conversation,
    message: AssistantMessage,
    field: str,
    names: ToolNames,
    unsigned: UnsignedThinking,
    ignored: IgnoredFields,
) -> None:
    if message.audio is not None:
        ignored.add("messages.audio")
    thinking = given_thinking(vars(message))
    if thinking.unsigned:
        unsigned.append((f"messages.{thinking.unsigned}", [call.id for call in message.tool_calls or ()]))
    conversation.add_assistant(thinking.blocks)
    conversation.add_assistant([*text_blocks(message.content), *text_blocks(message.refusal)])
    for position, call in enumerate(message.tool_calls or ()):
        where = f"{field}.tool_calls.{position}"
        if call.type == "custom" and call.custom is not None:
            name = names.of_call(CalledTool(kind=ToolKind.CUSTOM, name=call.custom.name))
            conversation.add_call(call.id, name, {free_form.PARAMETER: call.custom.input}, f"{where}.id")
        elif call.type == "function" and call.function is not None:
            arguments = call_arguments(
                call.function.arguments, f"{where}.function.arguments", values=conversation.values, ignored=ignored
            )
            conversation.add_call(call.id, call.function.name, arguments, f"{where}.id")
        else:
            raise invalid_field(f"{where}.{call.type}", "Field required")
    if message.function_call is not None:
        legacy = message.function_call
        arguments = call_arguments(
            legacy.arguments, f"{field}.function_call.arguments", values=conversation.values, ignored=ignored
        )
        conversation.add_call(_FUNCTION_CALL_ID_PREFIX + legacy.name, legacy.name, arguments, f"{field}.function_call")


def _output_request(request: ChatRequest) -> OutputRequest | None:
    match request.response_format:
        case JsonObjectFormat(schema_=schema):
            return OutputRequest(field="response_format", schema_field="response_format.schema", schema=schema)
        case JsonSchemaFormat(json_schema=named):
            return OutputRequest(
                field="response_format",
                schema_field="response_format.json_schema.schema",
                schema=named.schema_,
                strict=bool(named.strict),
                description=named.description,
            )
        case _:
            return None
