"""Parts of a request that an agent does not take, by their names in OpenAI's APIs. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from apiproxy.core.agents import AgentSpec
from apiproxy.dialects.agent_rules import NO_CLIENT_TOOLS, NO_SERVERS, NO_SYSTEM, check_schema, is_absent, not_taken
from apiproxy.dialects.openai.chat.schemas import ChatRequest, JsonObjectFormat, JsonSchemaFormat, Sampled
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest, SchemaFormat
from apiproxy.dialects.openai.responses.summary import asks_for_summary

RequestT = TypeVar("RequestT", bound=Sampled)

_SYSTEM_ROLES = ("system", "developer")
_TOOL_ROLES = ("tool", "function")
_CLIENT_ITEMS = frozenset(
    {
        *("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
        *("local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output"),
        *("apply_patch_call", "apply_patch_call_output", "tool_search_call", "tool_search_output", "additional_tools"),
    }
)
"""Items of client tools: calls, their results, and declarations."""
_ONE_ANSWER = "an agent gives one answer to a request"


def agent_request(request: RequestT, agent: AgentSpec) -> RequestT:
    """The request for an agent, without the format of the answer if that is the agent's own.

    Raises ProxyError (INVALID_REQUEST) naming the first field that the agent cannot take.
    """
    if isinstance(request, ChatRequest):
        _check_chat(request, agent)
        return request.model_copy(update={"response_format": None})
    if isinstance(request, ResponsesRequest):
        _check_responses(request, agent)
        text = request.text.model_copy(update={"format": None}) if request.text is not None else None
        return request.model_copy(update={"text": text})
    return request


def _check_chat(request: ChatRequest, agent: AgentSpec) -> None:
    for name in ("tools", "functions", "web_search_options"):
        if not is_absent(getattr(request, name)):
            raise not_taken(name, NO_CLIENT_TOOLS)
    for name in ("tool_choice", "function_call"):
        if getattr(request, name) not in (None, "none", "auto"):
            raise not_taken(name, NO_CLIENT_TOOLS)
    if request.n is not None and request.n > 1:
        raise not_taken("n", _ONE_ANSWER)
    for index, message in enumerate(request.messages):
        if message.get("role") in _TOOL_ROLES or message.get("tool_calls") or message.get("function_call"):
            raise not_taken(f"messages.{index}", NO_CLIENT_TOOLS)
    _check_system(_with_roles(request.messages, "messages"), agent)
    match request.response_format:
        case JsonObjectFormat(schema_=schema):
            check_schema(agent, schema, "response_format")
        case JsonSchemaFormat(json_schema=named):
            check_schema(agent, named.schema_, "response_format.json_schema.schema")


def _check_responses(request: ResponsesRequest, agent: AgentSpec) -> None:
    for index, tool in enumerate(request.tools or ()):
        reason = NO_SERVERS if tool.get("type") == "mcp" else NO_CLIENT_TOOLS
        raise not_taken(f"tools.{index}", reason)
    if request.tool_choice not in (None, "none", "auto"):
        raise not_taken("tool_choice", NO_CLIENT_TOOLS)
    if asks_for_summary(request):
        raise not_taken("input", "compaction is not available for agents")
    items: Iterable[Mapping[str, Any]] = () if isinstance(request.input, str) else request.input
    for index, item in enumerate(items):
        if item.get("type") in _CLIENT_ITEMS:
            raise not_taken(f"input.{index}", NO_CLIENT_TOOLS)
    if not agent.allow_client_system and request.instructions:
        raise not_taken("instructions", NO_SYSTEM)
    _check_system(_with_roles(items, "input"), agent)
    match request.text.format if request.text is not None else None:
        case JsonObjectFormat(schema_=schema) | SchemaFormat(schema_=schema):
            check_schema(agent, schema, "text.format.schema")


def _check_system(messages: Iterable[tuple[str, object]], agent: AgentSpec) -> None:
    for field, role in messages:
        if role in _SYSTEM_ROLES and not agent.allow_client_system:
            raise not_taken(field, NO_SYSTEM)


def _with_roles(messages: Iterable[Mapping[str, Any]], field: str) -> Iterator[tuple[str, object]]:
    return ((f"{field}.{index}", message.get("role")) for index, message in enumerate(messages))
