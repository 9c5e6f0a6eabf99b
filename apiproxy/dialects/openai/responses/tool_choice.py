"""`tool_choice` of Responses requests, as a choice of upstream names."""

from collections.abc import Iterable, Mapping
from typing import Any

from apiproxy.core.errors import ProxyError
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.server_tools import forced_server_tool, is_server_tool, keep_allowed
from apiproxy.dialects.openai.responses.tool_schemas import AllowedTools, NamedTool
from apiproxy.dialects.openai.responses.tools import DeclaredTools
from apiproxy.dialects.openai.translate.called_tools import ToolKind
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, header_safe, invalid_field
from apiproxy.dialects.openai.translate.tools import Choice
from apiproxy.dialects.openai.translate.validation import read

_FIELD = "tool_choice"
_KINDS = frozenset(ToolKind)
_NAMED = (ToolKind.FUNCTION, ToolKind.CUSTOM)


def tool_choice(request: ResponsesRequest, declared: DeclaredTools, ignored: IgnoredFields) -> Choice | None:
    """Tool choice of the request.

    Raises ProxyError (INVALID_REQUEST) for a choice that forces a tool which is undeclared, or which the upstream
    cannot get.
    """
    choice = request.tool_choice
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice == "required" and not (declared.specs or declared.server.tools) and declared.unsupported:
            raise _cannot_force(_FIELD, declared.unsupported)
        return Choice(field=_FIELD, mode=choice)
    if choice.get("type") == "allowed_tools":
        return _allowed(read(AllowedTools, choice, within=_FIELD), declared, ignored)
    if is_server_tool(choice.get("type")):
        return forced_server_tool(choice, declared.server, _FIELD)
    return Choice(field=_FIELD, name=_one(choice, declared, _FIELD))


def _allowed(allowed: AllowedTools, declared: DeclaredTools, ignored: IgnoredFields) -> Choice:
    names: set[str] = set()
    namespaces: set[str] = set()
    left_out: dict[str, str] = {}
    for index, tool in enumerate(allowed.tools):
        where = f"{_FIELD}.tools.{index}"
        kind = tool.get("type", ToolKind.FUNCTION)
        if is_server_tool(kind):
            continue
        if kind == "namespace":
            namespaces.add(read(NamedTool, tool, within=where).name)
        elif isinstance(kind, str) and kind in declared.unsupported:
            left_out.setdefault(kind, where)
        else:
            names.add(_one(tool, declared, where))
    for namespace in namespaces:
        names.update(declared.names.within(namespace))
    for kind, where in left_out.items():
        ignored.add(where, header_safe(kind))
    keep_allowed(allowed.tools, declared.server)
    if allowed.mode == "required" and not names and not declared.server.tools:
        raise _cannot_force(f"{_FIELD}.tools", left_out)
    return Choice(field=_FIELD, mode=allowed.mode, only=frozenset(names))


def _one(tool: Mapping[str, Any], declared: DeclaredTools, field: str) -> str:
    """Upstream name of the tool that an object refers to."""
    kind = tool.get("type", ToolKind.FUNCTION)
    if kind in declared.unsupported or not isinstance(kind, str) or kind not in _KINDS:
        raise _cannot_force(f"{field}.type", [str(kind)])
    if kind in _NAMED:
        wanted = read(NamedTool, tool, within=field)
        name, namespace = wanted.name, wanted.namespace
    else:
        name, namespace = kind, None
    found = declared.names.named(name, kind=ToolKind(kind), namespace=namespace)
    if found is None:
        raise invalid_field(field, f"no tool named {name!r} is declared")
    return found


def _cannot_force(field: str, kinds: Iterable[str]) -> ProxyError:
    named = ", ".join(kinds)
    if not named:
        return invalid_field(field, "must not require a call without tools")
    return invalid_field(field, f"a call cannot be forced: the gateway does not support tools of the type {named}")
