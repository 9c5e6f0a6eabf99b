"""Tools, legacy functions and tool choice of chat requests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    UnknownTool,
)
from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames, plain_function
from apiproxy.dialects.openai.translate.content import cache_mark
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, header_safe, invalid_field
from apiproxy.dialects.openai.translate.tools import Choice, ToolSpec
from apiproxy.dialects.openai.translate.web_search import is_search_tool


@dataclass(frozen=True, slots=True)
class DeclaredTools:
    """Tools of one request, and the types of those that the upstream does not get."""

    names: ToolNames
    specs: list[ToolSpec] = field(default_factory=list)
    unsupported: set[str] = field(default_factory=set)


def declared_tools(request: ChatRequest, ignored: IgnoredFields) -> DeclaredTools:
    """Tools of the request, or its legacy functions."""
    if request.functions and request.tools:
        raise invalid_field("functions", "must not be given together with `tools`")
    declared = DeclaredTools(ToolNames(_function_names(request.tools or ())))
    for index, tool in enumerate(map(TOOL.validate_python, request.tools or ())):
        match tool:
            case FunctionTool():
                declared.specs.append(_function(tool, declared.names, f"tools.{index}.function"))
            case CustomTool():
                declared.specs.append(_custom(tool, declared.names, f"tools.{index}.custom"))
            case UnknownTool() if is_search_tool(tool.type):
                pass  # see `web_search.search_tools`
            case UnknownTool():
                declared.unsupported.add(tool.type)
                ignored.add(f"tools.{index}", header_safe(tool.type))
    for index, function in enumerate(request.functions or ()):
        tool = FunctionTool(type="function", function=function)
        declared.specs.append(_function(tool, declared.names, f"functions.{index}"))
    return declared


def tool_choice(request: ChatRequest, declared: DeclaredTools) -> Choice | None:
    """Tool choice of the request, also of one with legacy functions."""
    if request.functions:
        return _function_choice(request)
    match request.tool_choice:
        case None:
            return None
        case str() as mode:
            if mode == "required" and not declared.specs and declared.unsupported:
                kinds = ", ".join(sorted(declared.unsupported))
                reason = f"a call cannot be forced: the gateway does not support tools of the type {kinds}"
                raise invalid_field("tool_choice", reason)
            return Choice(field="tool_choice", mode=mode)
        case NamedToolChoice(function=function):
            return Choice(field="tool_choice", name=function.name)
        case CustomToolChoice(custom=custom):
            return Choice(field="tool_choice", name=_upstream_name(declared.names, custom.name, ToolKind.CUSTOM))
        case AllowedToolChoice(allowed_tools=allowed):
            only = _allowed_names(allowed.tools, declared.names)
            return Choice(field="tool_choice", mode=allowed.mode, only=only)


def _function_names(tools: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    return (tool["function"]["name"] for tool in tools if tool["type"] == ToolKind.FUNCTION)


def _function(tool: FunctionTool, names: ToolNames, where: str) -> ToolSpec:
    function = tool.function
    return ToolSpec(
        name=names.add(plain_function(function.name)),
        description=function.description,
        parameters=function.parameters,
        strict=bool(function.strict),
        field=where,
        cache=cache_mark(tool),
    )


def _custom(tool: CustomTool, names: ToolNames, where: str) -> ToolSpec:
    custom = tool.custom
    return ToolSpec(
        name=names.add(CalledTool(kind=ToolKind.CUSTOM, name=custom.name)),
        description=free_form.description(custom.description, custom.format),
        parameters=free_form.SCHEMA,
        strict=False,
        field=where,
        cache=cache_mark(tool),
    )


def _allowed_names(tools: Sequence[dict[str, Any]], names: ToolNames) -> frozenset[str]:
    found = set()
    for tool in tools:
        kind = ToolKind.CUSTOM if tool.get("type") == ToolKind.CUSTOM else ToolKind.FUNCTION
        given = tool.get(kind, tool)
        name = given.get("name") if isinstance(given, dict) else None
        if not isinstance(name, str):
            raise invalid_field("tool_choice", "every allowed tool must have a name")
        found.add(_upstream_name(names, name, kind))
    return frozenset(found)


def _upstream_name(names: ToolNames, name: str, kind: ToolKind) -> str:
    found = names.named(name, kind=kind, namespace=None)
    if found is None:
        raise invalid_field("tool_choice", f"no tool named {name!r} is declared")
    return found


def _function_choice(request: ChatRequest) -> Choice | None:
    match request.function_call:
        case None:
            return None
        case Named(name=name):
            return Choice(field="function_call", name=name)
        case mode:
            return Choice(field="function_call", mode=mode)
