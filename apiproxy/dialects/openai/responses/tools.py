"""Tools of Responses requests as functions of the upstream."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.server_tools import ServerToolReader, is_server_tool
from apiproxy.dialects.openai.responses.tool_schemas import (
    FreeFormTool,
    Namespace,
    ResponsesFunction,
    Shell,
    ToolSearch,
)
from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames
from apiproxy.dialects.openai.translate.client_tools import CLIENT_TOOLS
from apiproxy.dialects.openai.translate.content import cache_mark
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, header_safe, invalid_field
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer
from apiproxy.dialects.openai.translate.tools import ToolSpec
from apiproxy.dialects.openai.translate.validation import read

LOADING_ITEMS = frozenset({"tool_search_output", "additional_tools"})
"""Input items that declare tools."""

_TOOL_SEARCH = CalledTool(kind=ToolKind.TOOL_SEARCH, name="tool_search")
_SEARCH_TEXT = "Searches for further tools. Those found can be called from the next turn on."


class DeclaredTools:
    """Tools of one request: those that the upstream gets, and the types that it cannot get.

    unsupported: by type, the first tool's path. server: tools that the upstream runs.
    """

    def __init__(self, names: ToolNames, server_tools: ServerToolReader, ignored: IgnoredFields) -> None:
        self.names = names
        self.server = server_tools.tools
        self._server_tools = server_tools
        self.specs: list[ToolSpec] = []
        self.unsupported: dict[str, str] = {}
        self._ignored = ignored

    def declare(self, tools: Iterable[Mapping[str, Any]], field: str) -> None:
        """Add declared tools. field: path of their list.

        Raises ProxyError (INVALID_REQUEST) naming the invalid field.
        """
        for index, tool in enumerate(tools):
            where = f"{field}.{index}"
            kind = tool.get("type")
            if not isinstance(kind, str):
                raise invalid_field(f"{where}.type", "must be a string" if "type" in tool else "Field required")
            if is_server_tool(kind):
                self._server_tools.add(kind, tool, where)
            else:
                _KINDS.get(kind, _leave_out)(self, tool, where)

    def add(self, tool: CalledTool, spec: Mapping[str, Any], field: str) -> None:
        """Add a tool, unless it is known already and not a plain function, which the upstream may reject.

        spec: the fields of its `ToolSpec` but for name and path.
        """
        if tool in self.names and not (tool.plain and field.startswith("tools.")):
            return
        self.specs.append(ToolSpec(name=self.names.add(tool), field=field, **spec))

    def leave_out(self, kind: str, field: str, note: str = "") -> None:
        """Report a tool that the upstream does not get. note: its reason."""
        self.unsupported.setdefault(kind, field)
        self._ignored.add(field, f"{header_safe(kind)}: {note}" if note else header_safe(kind))


def declared_tools(request: ResponsesRequest, offer: ServerToolOffer, ignored: IgnoredFields) -> DeclaredTools:
    """Tools of the request, with those that its input items load.

    offer: server tools that the key may use. Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    lists = [("tools", request.tools or []), *_loaded(request)]
    names = ToolNames(name for _, tools in lists for name in _plain_names(tools))
    server_tools = ServerToolReader(request, offer, ignored)
    declared = DeclaredTools(names, server_tools, ignored)
    for field, tools in lists:
        declared.declare(tools, field)
    server_tools.finish()
    return declared


def loaded_names(tools: Sequence[Mapping[str, Any]], names: ToolNames) -> list[str]:
    """Names under which the model knows tools that an input item has loaded."""
    found: list[str] = []
    for tool in tools:
        inner = tool.get("tools") if tool.get("type") == "namespace" else [tool]
        namespace = tool.get("name") if tool.get("type") == "namespace" else None
        found += [
            names.of_call(CalledTool(kind=ToolKind(one["type"]), name=one["name"], namespace=namespace))
            for one in (inner if isinstance(inner, list) else ())
            if one.get("type") in (ToolKind.FUNCTION, ToolKind.CUSTOM)
        ]
    return found


def _loaded(request: ResponsesRequest) -> list[tuple[str, list[dict[str, Any]]]]:
    if isinstance(request.input, str):
        return []
    return [
        (f"input.{index}.tools", item["tools"])
        for index, item in enumerate(request.input)
        if item.get("type") in LOADING_ITEMS
    ]


def _plain_names(tools: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    return (
        tool["name"] for tool in tools if tool.get("type") == ToolKind.FUNCTION and isinstance(tool.get("name"), str)
    )


def _function(declared: DeclaredTools, tool: Mapping[str, Any], field: str, namespace: Namespace | None = None) -> None:
    function = read(ResponsesFunction, tool, within=field)
    spec = {
        "description": function.description,
        "parameters": function.parameters,
        "strict": bool(function.strict),
        "cache": cache_mark(function),
    }
    within = namespace.name if namespace is not None else None
    declared.add(CalledTool(kind=ToolKind.FUNCTION, name=function.name, namespace=within), spec, field)


def _custom(declared: DeclaredTools, tool: Mapping[str, Any], field: str, namespace: Namespace | None = None) -> None:
    custom = read(FreeFormTool, tool, within=field)
    spec = {
        "description": free_form.description(custom.description, custom.format),
        "parameters": free_form.SCHEMA,
        "strict": False,
        "cache": cache_mark(custom),
    }
    within = namespace.name if namespace is not None else None
    declared.add(CalledTool(kind=ToolKind.CUSTOM, name=custom.name, namespace=within), spec, field)


def _namespace(declared: DeclaredTools, tool: Mapping[str, Any], field: str) -> None:
    namespace = read(Namespace, tool, within=field)
    first = len(declared.specs)
    for index, inner in enumerate(namespace.tools):
        where = f"{field}.tools.{index}"
        match inner.get("type"):
            case ToolKind.FUNCTION:
                _function(declared, inner, where, namespace)
            case ToolKind.CUSTOM:
                _custom(declared, inner, where, namespace)
            case _:
                raise invalid_field(f"{where}.type", "must be one of 'function', 'custom'")
    if namespace.description and len(declared.specs) > first:
        # Once, as each copy would cost tokens.
        spec = declared.specs[first]
        text = "\n\n".join(part for part in (namespace.description, spec.description) if part)
        declared.specs[first] = replace(spec, description=text)


def _tool_search(declared: DeclaredTools, tool: Mapping[str, Any], field: str) -> None:
    search = read(ToolSearch, tool, within=field)
    if search.execution != "client":
        declared.leave_out(ToolKind.TOOL_SEARCH, field, "all declared tools are offered at once")
        return
    spec = {
        "description": search.description or _SEARCH_TEXT,
        "parameters": search.parameters,
        "strict": False,
    }
    declared.add(_TOOL_SEARCH, spec, field)


def _shell(declared: DeclaredTools, tool: Mapping[str, Any], field: str) -> None:
    shell = read(Shell, tool, within=field)
    if shell.environment is not None and shell.environment.get("type") != "local":
        declared.leave_out(ToolKind.SHELL, field, "only in a local environment")
        return
    _built_in(declared, tool, field)


def _built_in(declared: DeclaredTools, tool: Mapping[str, Any], field: str) -> None:
    kind = ToolKind(tool["type"])
    function = CLIENT_TOOLS[kind]
    spec = {"description": function.description, "parameters": function.parameters, "strict": False}
    declared.add(CalledTool(kind=kind, name=kind), spec, field)


def _leave_out(declared: DeclaredTools, tool: Mapping[str, Any], field: str) -> None:
    declared.leave_out(tool["type"], field)


_KINDS: Mapping[str, Callable[[DeclaredTools, Mapping[str, Any], str], None]] = {
    "function": _function,
    "custom": _custom,
    "namespace": _namespace,
    "tool_search": _tool_search,
    "local_shell": _built_in,
    "shell": _shell,
    "apply_patch": _built_in,
}
"""By type of the tool; others are left out and reported."""
