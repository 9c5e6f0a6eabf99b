"""Translation of Responses requests to Messages bodies."""

from typing import Any

from apiproxy.answers.kept import NOTHING, Recalled
from apiproxy.dialects.openai.chat.schemas import JsonObjectFormat
from apiproxy.dialects.openai.responses.items import Known, conversation
from apiproxy.dialects.openai.responses.reply import ResponsesReply, ResponsesTranslation, StoredHistory
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest, SchemaFormat
from apiproxy.dialects.openai.responses.server_tools import without_secrets
from apiproxy.dialects.openai.responses.summary import asks_for_summary, with_summary_request
from apiproxy.dialects.openai.responses.tool_choice import tool_choice
from apiproxy.dialects.openai.responses.tools import DeclaredTools, declared_tools
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.messages_body import Assembled, Parts, Target, assemble, report_unknown_fields
from apiproxy.dialects.openai.translate.reasoning import ReasoningRequest
from apiproxy.dialects.openai.translate.structured_output import OutputRequest
from apiproxy.dialects.openai.translate.thinking import calls_lack_thinking
from apiproxy.dialects.openai.translate.validation import read

ENCRYPTED_REASONING = "reasoning.encrypted_content"
SEARCH_SOURCES = "web_search_call.action.sources"

_DEFAULTS = {"top_logprobs": 0}
_NOT_STORED = "responses are not stored for this API key: send the whole conversation as `input`"


def read_responses(body: object) -> ResponsesRequest:
    """Validate a decoded JSON body.

    Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    return with_summary_request(read(ResponsesRequest, body))


def translate_responses(
    request: ResponsesRequest,
    *,
    target: Target,
    strict: bool,
    stored: StoredHistory | None = None,
    recalled: Recalled = NOTHING,
) -> ResponsesTranslation:
    """Translate a request.

    strict: reject unsupported fields instead of listing them in a header. stored: None if responses are not stored for
    the key. recalled: recent answers that the input refers to or came from. Raises ProxyError (INVALID_REQUEST) naming
    the invalid field.
    """
    ignored = IgnoredFields(strict=strict)
    _reject_unstored_features(request, stored)
    _report_ignored(request, stored, ignored)
    declared = declared_tools(request, target.server_tools, ignored)
    choice = tool_choice(request, declared, ignored)
    known = Known(stored=stored, recalled=recalled)
    given = conversation(request, known, declared, ignored, model=target.answers_model)
    reasoning = reasoning_request(request, calls_lack_thinking=calls_lack_thinking(given.messages))
    parts = Parts(
        system=given.system,
        messages=given.messages,
        messages_field="input",
        max_tokens=request.max_output_tokens,
        tools=declared.specs,
        choice=choice,
        parallel=request.parallel_tool_calls is not False,
        reasoning=reasoning,
        output=_output_request(request),
        server_tools=declared.server,
    )
    assembled = assemble(request, parts, target=target, ignored=ignored)
    return ResponsesTranslation(
        body=assembled.body,
        ignored=ignored.names,
        reply=_reply(request, assembled, declared, shown=reasoning.shown, stored=stored),
        stream=bool(request.stream),
        betas=declared.server.betas,
        asked=given.asked,
    )


def reasoning_request(request: ResponsesRequest, *, calls_lack_thinking: bool) -> ReasoningRequest:
    """Reasoning options of a request."""
    config = request.reasoning
    return ReasoningRequest(
        field="reasoning.effort",
        effort=config.effort if config else None,
        thinking=request.thinking,
        shown=config is not None and (config.summary or config.generate_summary) is not None,
        calls_lack_thinking=calls_lack_thinking,
    )


def _reply(
    request: ResponsesRequest,
    assembled: Assembled,
    declared: DeclaredTools,
    *,
    shown: bool,
    stored: StoredHistory | None,
) -> ResponsesReply:
    """Format of the answer. shown: include the thinking."""
    include = request.include or ()
    response_id = stored.response_id if stored is not None else None
    return ResponsesReply(
        answer_tool=assembled.answer_tool,
        forced_call=assembled.forced_call,
        called=declared.names.called,
        renamed=assembled.renamed,
        reasoning=shown,
        encrypted=ENCRYPTED_REASONING in include,
        sources=SEARCH_SOURCES in include,
        response_id=response_id,
        compacts=asks_for_summary(request),
        echo=_echo(request, stored=response_id is not None and request.store is not False),
    )


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
    if request.store and (stored is None or stored.response_id is None):
        ignored.add("store", "responses are not stored for this API key")
    if request.truncation not in (None, "disabled"):
        ignored.add("truncation")
    if set(request.include or ()) - {ENCRYPTED_REASONING, SEARCH_SOURCES}:
        ignored.add("include")
    if request.text is not None and request.text.verbosity not in (None, "medium"):
        ignored.add("text.verbosity")
    if request.reasoning is not None and request.reasoning.mode not in (None, "standard"):
        ignored.add("reasoning.mode")
    if request.stream_options is not None and request.stream_options.include_obfuscation:
        ignored.add("stream_options.include_obfuscation")


def _output_request(request: ResponsesRequest) -> OutputRequest | None:
    match request.text.format if request.text is not None else None:
        case JsonObjectFormat(schema_=schema):
            return OutputRequest(field="text.format", schema_field="text.format.schema", schema=schema)
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
        "tools": without_secrets(request.tools or ()),
        "top_p": request.top_p,
        "truncation": "disabled",
        "user": request.user,
    }
