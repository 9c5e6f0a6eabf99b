"""Translation of Chat Completions requests to Messages bodies."""

from typing import Any

from apiproxy.answers.kept import NOTHING, Recalled
from apiproxy.core.json_values import ValueBudget
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
from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames
from apiproxy.dialects.openai.translate.content import content_blocks, text_blocks
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
    conversation = Conversation(ignored)
    unsigned: UnsignedThinking = []
    for index, message in enumerate(map(MESSAGE.validate_python, request.messages)):
        _add_message(conversation, message, f"messages.{index}", declared.names, unsigned, ignored)
    system, messages = conversation.finish("messages")
    completed = put_back(messages, recalled.by_call(), model=target.model)
    report_unsigned(unsigned, completed, ignored)
    reasoning = reasoning_request(request, calls_lack_thinking=calls_lack_thinking(messages))
    legacy = bool(request.functions)
    parts = Parts(
        system=system,
        messages=messages,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        tools=declared.specs,
        choice=tool_choice(request, declared),
        parallel=request.parallel_tool_calls is not False and not legacy,
        reasoning=reasoning,
        output=_output_request(request),
        stop=stop_sequences(request.stop, ignored),
    )
    assembled = assemble(request, parts, target=target, ignored=ignored)
    reply = Reply(
        answer_tool=assembled.answer_tool,
        forced_call=assembled.forced_call,
        called=declared.names.called,
        reasoning=reasoning.shown,
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
        legacy_function=legacy,
    )
    return Translation(body=assembled.body, ignored=ignored.names, reply=reply, stream=bool(request.stream))


def json_object(text: str, field: str, values: ValueBudget) -> dict[str, Any]:
    """Arguments of a call as an object; blank text means no arguments.

    values: budget shared by all calls.
    """
    if not text or text.isspace():
        return {}
    try:
        value = values.loads(text)
    except ValueError as error:
        raise invalid_field(field, f"must be JSON ({error})") from None
    if not isinstance(value, dict):
        raise invalid_field(field, "must be a JSON object")
    return value


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
            conversation.add_system(text_blocks(message.content), field)
        case UserMessage():
            content = f"{field}.content"
            conversation.add_user(content_blocks(message.content, content, ignored), content)
        case AssistantMessage():
            _add_assistant(conversation, message, field, names, unsigned, ignored)
        case ToolMessage():
            blocks = content_blocks(message.content, f"{field}.content", ignored)
            conversation.add_result(message.tool_call_id, blocks, f"{field}.tool_call_id")
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
            arguments = json_object(call.function.arguments, f"{where}.function.arguments", conversation.values)
            conversation.add_call(call.id, call.function.name, arguments, f"{where}.id")
        else:
            raise invalid_field(f"{where}.{call.type}", "Field required")
    if message.function_call is not None:
        legacy = message.function_call
        arguments = json_object(legacy.arguments, f"{field}.function_call.arguments", conversation.values)
        conversation.add_call(_FUNCTION_CALL_ID_PREFIX + legacy.name, legacy.name, arguments, f"{field}.function_call")


def _output_request(request: ChatRequest) -> OutputRequest | None:
    match request.response_format:
        case JsonObjectFormat():
            return OutputRequest(field="response_format", schema_field="response_format")
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
