"""Output items for calls of the client's tools."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.openai.translate import free_form
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, plain_function

Status = Literal["in_progress", "completed", "incomplete", "failed"]
Item = dict[str, Any]

_PATCH_TYPES = ("create_file", "update_file", "delete_file")


def call_item(
    message_id: str,
    index: int,
    tool_use: Mapping[str, Any],
    called: CalledTool | None,
    text: str,
    status: Status = "completed",
) -> Item:
    """Item for a call.

    called: the tool; None for a plain function. text: arguments of a function as JSON. The input of other tools is
    taken from `tool_use`.
    """
    tool = called if called is not None else plain_function(tool_use["name"])
    prefix, kind, fields = _KINDS[tool.kind]
    head = {"id": item_id_for(prefix, message_id, index), "type": kind, "status": status, "call_id": tool_use["id"]}
    return {**head, **fields(tool, tool_use.get("input") or {}, text)}


def item_id_for(prefix: str, message_id: str, index: int) -> str:
    """Id of the item for the block at this index; the same whether streamed or not."""
    return f"{prefix}_{message_id.removeprefix('msg_')}_{index}"


def _named(tool: CalledTool) -> Item:
    return {"name": tool.name} | ({"namespace": tool.namespace} if tool.namespace is not None else {})


def _function(tool: CalledTool, _: object, text: str) -> Item:
    return {**_named(tool), "arguments": text}


def _custom(tool: CalledTool, given: object, _: str) -> Item:
    return {**_named(tool), "input": free_form.free_form_input(given)}


def _tool_search(_: CalledTool, given: object, __: str) -> Item:
    return {"execution": "client", "arguments": given}


def _local_shell(_: CalledTool, given: object, __: str) -> Item:
    values = _object(given)
    env = {name: _text(value) for name, value in _object(values.get("env")).items()}
    action = {"type": "exec", "command": _texts(values.get("command")), "env": env}
    return {"action": action | _of_type(values, int, "timeout_ms") | _of_type(values, str, "working_directory", "user")}


def _shell(_: CalledTool, given: object, __: str) -> Item:
    values = _object(given)
    limits = _of_type(values, int, "timeout_ms", "max_output_length")
    return {"action": {"commands": _texts(values.get("commands")), **limits}, "environment": {"type": "local"}}


def _apply_patch(_: CalledTool, given: object, __: str) -> Item:
    values = _object(given)
    kind = values.get("type")
    operation = {"type": kind if kind in _PATCH_TYPES else "update_file", "path": _text(values.get("path") or "")}
    if operation["type"] != "delete_file":
        operation["diff"] = _text(values.get("diff") or "")
    return {"operation": operation}


def _of_type(values: Mapping[str, Any], wanted: type, *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if type(values.get(name)) is wanted}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> list[str]:
    return [_text(item) for item in (value if isinstance(value, list) else [value] if value else [])]


def _text(value: object) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


_KINDS: Mapping[ToolKind, tuple[str, str, Callable[[CalledTool, object, str], Item]]] = {
    ToolKind.FUNCTION: ("fc", "function_call", _function),
    ToolKind.CUSTOM: ("ctc", "custom_tool_call", _custom),
    ToolKind.TOOL_SEARCH: ("tsc", "tool_search_call", _tool_search),
    ToolKind.LOCAL_SHELL: ("lsh", "local_shell_call", _local_shell),
    ToolKind.SHELL: ("sh", "shell_call", _shell),
    ToolKind.APPLY_PATCH: ("apc", "apply_patch_call", _apply_patch),
}
"""Prefix of ids, type, and fields of the items. What the model gave in another form than declared is made to fit the
type, as the official client reads it: the tool then reports what is wrong."""
