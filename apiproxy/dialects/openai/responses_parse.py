"""A Responses request as a Messages body."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.answer import THINKING_TYPES
from apiproxy.dialects.openai.body import Parts, Reply, Target, Translation, assemble, say_unknown
from apiproxy.dialects.openai.content import text_blocks
from apiproxy.dialects.openai.conversation import Conversation
from apiproxy.dialects.openai.ignored import Ignored, refuse
from apiproxy.dialects.openai.parse import allowed_names, json_object, thinking_blocks
from apiproxy.dialects.openai.reading import read
from apiproxy.dialects.openai.reasoning import Asked
from apiproxy.dialects.openai.responses_content import blocks, unsealed
from apiproxy.dialects.openai.responses_schemas import (
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
from apiproxy.dialects.openai.schemas import JsonObjectFormat
from apiproxy.dialects.openai.structured import Wanted
from apiproxy.dialects.openai.tools import Choice, ToolSpec

ENCRYPTED_REASONING = "reasoning.encrypted_content"

_DEFAULTS = {"top_logprobs": 0}
_NOT_STORED = "responses are not stored here: send the whole conversation as `input`"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesReply(Reply):
    """The form of a Responses answer. echo: what the answer repeats of the request; encrypted: thinking to carry."""

    echo: dict[str, Any]
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesTranslation(Translation):
    """A `Translation` whose answer is a Responses object."""

    reply: ResponsesReply


def read_responses(body: object) -> ResponsesRequest:
    """The request in a decoded JSON body. Raises ProxyError (INVALID_REQUEST) that names the field at fault."""
    return read(ResponsesRequest, body)


def translate_responses(request: ResponsesRequest, *, target: Target, strict: bool) -> ResponsesTranslation:
    """The request for the upstream. strict: a field that cannot be honoured is refused, not named in a header.

    Raises ProxyError (INVALID_REQUEST) that names the field at fault.
    """
    ignored = Ignored(strict=strict)
    _refuse_what_needs_a_store(request)
    _say_what_is_ignored(request, ignored)
    conversation = Conversation(ignored)
    conversation.add_system(text_blocks(request.instructions), "instructions")
    items = request.input
    if isinstance(items, str):
        conversation.add_user(text_blocks(items), "input")
    else:
        for index, item in enumerate(items):
            _add(conversation, item, f"input.{index}", ignored)
    system, messages = conversation.finish("input")
    config = request.reasoning
    shown = config is not None and (config.summary or config.generate_summary) is not None
    parts = Parts(
        system=system,
        messages=messages,
        max_tokens=request.max_output_tokens,
        tools=_tool_specs(request),
        choice=_choice(request),
        parallel=request.parallel_tool_calls is not False,
        reasoning=Asked(
            field="reasoning.effort",
            effort=config.effort if config else None,
            thinking=request.thinking,
            shown=shown,
            turn_has_bare_calls=_has_bare_calls(messages),
        ),
        answer=_answer(request),
    )
    body, answer_tool = assemble(request, parts, target=target, ignored=ignored)
    reply = ResponsesReply(
        answer_tool=answer_tool,
        reasoning=shown,
        encrypted=ENCRYPTED_REASONING in (request.include or ()),
        echo=_echo(request),
    )
    return ResponsesTranslation(body=body, ignored=ignored.said, reply=reply, stream=bool(request.stream))


def _refuse_what_needs_a_store(request: ResponsesRequest) -> None:
    for field in ("previous_response_id", "conversation", "prompt"):
        if getattr(request, field) is not None:
            raise refuse(field, _NOT_STORED)
    if request.background:
        raise refuse("background", "responses are not stored here: ask for it in the foreground, streamed or not")


def _say_what_is_ignored(request: ResponsesRequest, ignored: Ignored) -> None:
    say_unknown(request, _DEFAULTS, ignored)
    if request.store:
        ignored.say("store", "responses are not stored here")
    if request.truncation not in (None, "disabled"):
        ignored.say("truncation")
    if set(request.include or ()) - {ENCRYPTED_REASONING}:
        ignored.say("include")
    if request.text is not None and request.text.verbosity not in (None, "medium"):
        ignored.say("text.verbosity")
    if request.reasoning is not None and request.reasoning.mode not in (None, "standard"):
        ignored.say("reasoning.mode")
    if request.stream_options is not None and request.stream_options.include_obfuscation:
        ignored.say("stream_options.include_obfuscation")


def _add(conversation: Conversation, item: Item, field: str, ignored: Ignored) -> None:
    match item:
        case MessageItem():
            _add_message(conversation, item, field, ignored)
        case FunctionCallItem():
            arguments = json_object(item.arguments, f"{field}.arguments")
            conversation.add_call(item.call_id, item.name, arguments, f"{field}.call_id")
        case CustomCallItem():
            conversation.add_call(item.call_id, item.name, {"input": item.input}, f"{field}.call_id")
        case CallOutputItem():
            found = blocks(item.output, f"{field}.output", ignored)
            conversation.add_result(item.call_id, found, f"{field}.call_id")
        case ReasoningItem():
            _add_reasoning(conversation, item, field, ignored)
        case ReferenceItem():
            raise refuse(f"{field}.type", _NOT_STORED)


def _add_message(conversation: Conversation, item: MessageItem, field: str, ignored: Ignored) -> None:
    found = blocks(item.content, f"{field}.content", ignored)
    if item.role == "user":
        conversation.add_user(found, f"{field}.content")
        return
    if any(block["type"] != "text" for block in found):
        raise refuse(f"{field}.content", f"must be text in a message of the role {item.role}")
    if item.role == "assistant":
        conversation.add_assistant(found)
    else:
        conversation.add_system(found, field)


def _add_reasoning(conversation: Conversation, item: ReasoningItem, field: str, ignored: Ignored) -> None:
    """Thinking that we made goes back to the model; of another model's there is nothing to go back to."""
    block = unsealed(item.encrypted_content) if item.encrypted_content else None
    if block is None:
        if item.encrypted_content:
            ignored.say("input.encrypted_content", "not this gateway's")
        return
    conversation.add_assistant(thinking_blocks([block], f"{field}.encrypted_content"))


def _tool_specs(request: ResponsesRequest) -> list[ToolSpec]:
    specs: list[ToolSpec] = []
    for index, declared in enumerate(request.tools or ()):
        if declared.get("type") != "function":
            raise refuse(f"tools.{index}.type", "must be 'function': built-in and free-form tools are not supported")
        tool = read(ResponsesFunction, declared, within=f"tools.{index}")
        specs.append(
            ToolSpec(
                name=tool.name,
                description=tool.description,
                parameters=tool.parameters,
                strict=bool(tool.strict),
                field=f"tools.{index}",
            )
        )
    return specs


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


def _has_bare_calls(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether the turn that goes on holds calls without the thinking before them."""
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    if last is None or isinstance(last["content"], str) or not _answers_calls(messages[-1]):
        return False
    return not any(block["type"] in THINKING_TYPES for block in last["content"])


def _answers_calls(message: dict[str, Any]) -> bool:
    content = message["content"]
    return not isinstance(content, str) and any(block["type"] == "tool_result" for block in content)


def _answer(request: ResponsesRequest) -> Wanted | None:
    match request.text.format if request.text is not None else None:
        case JsonObjectFormat():
            return Wanted(field="text.format", schema_field="text.format")
        case SchemaFormat() as wanted:
            return Wanted(
                field="text.format",
                schema_field="text.format.schema",
                schema=wanted.schema_,
                strict=bool(wanted.strict),
                description=wanted.description,
            )
        case _:
            return None


def _echo(request: ResponsesRequest) -> dict[str, Any]:
    """What a Responses object repeats of its request, with OpenAI's defaults."""
    given = request.model_dump(include={"text", "reasoning", "tool_choice"}, by_alias=True, exclude_none=True)
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **given.get("reasoning", {})},
        "store": False,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"}, **given.get("text", {})},
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": request.tools or [],
        "top_p": request.top_p,
        "truncation": "disabled",
        "user": request.user,
    }
