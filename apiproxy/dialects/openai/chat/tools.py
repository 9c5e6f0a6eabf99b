"""Tools, legacy functions and tool choice of chat requests."""

from collections.abc import Iterator, Sequence
from typing import Any

from apiproxy.dialects.openai.chat.schemas import ChatRequest
from apiproxy.dialects.openai.chat.tool_schemas import (
    TOOL,
    AllowedToolChoice,
    CustomTool,
    CustomToolChoice,
    FunctionTool,
    Named,
    NamedToolChoice,
)
from apiproxy.dialects.openai.translate.content import cache_mark
from apiproxy.dialects.openai.translate.ignored import invalid_field
from apiproxy.dialects.openai.translate.tools import Choice, ToolSpec


def tool_specs(request: ChatRequest) -> Iterator[ToolSpec]:
    """Tools of the request, or its legacy functions."""
    if request.functions is not None and request.tools is not None:
        raise invalid_field("functions", "must not be given together with `tools`")
    for index, tool in enumerate(map(TOOL.validate_python, request.tools or ())):
        if isinstance(tool, CustomTool):
            raise invalid_field(f"tools.{index}.type", "free-form tools are not supported: declare a function")
        yield _spec(tool, f"tools.{index}.function")
    for index, function in enumerate(request.functions or ()):
        yield _spec(FunctionTool(type="function", function=function), f"functions.{index}")


def _spec(tool: FunctionTool, field: str) -> ToolSpec:
    function = tool.function
    return ToolSpec(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=bool(function.strict),
        field=field,
        cache=cache_mark(tool),
    )


def tool_choice(request: ChatRequest) -> Choice | None:
    """Tool choice of the request, also of one with legacy functions."""
    if request.functions is not None:
        return _function_choice(request)
    match request.tool_choice:
        case None:
            return None
        case str() as mode:
            return Choice(field="tool_choice", mode=mode)
        case NamedToolChoice() as named:
            return Choice(field="tool_choice", name=named.function.name)
        case CustomToolChoice():
            raise invalid_field("tool_choice.type", "free-form tools are not supported: declare a function")
        case AllowedToolChoice(allowed_tools=allowed):
            return Choice(field="tool_choice", mode=allowed.mode, only=allowed_names(allowed.tools, "tool_choice"))


def allowed_names(tools: Sequence[dict[str, Any]], field: str) -> frozenset[str]:
    """Names in a list of allowed tools, in the format of either API."""
    names = set()
    for tool in tools:
        name = tool.get("function", tool).get("name") if isinstance(tool.get("function", tool), dict) else None
        if not isinstance(name, str):
            raise invalid_field(field, "every allowed tool must be a function with a name")
        names.add(name)
    return frozenset(names)


def _function_choice(request: ChatRequest) -> Choice | None:
    match request.function_call:
        case None:
            return None
        case Named(name=name):
            return Choice(field="function_call", name=name)
        case mode:
            return Choice(field="function_call", mode=mode)
