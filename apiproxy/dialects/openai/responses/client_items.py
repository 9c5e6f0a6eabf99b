"""Input items of OpenAI's tools that the client executes, as tool calls and results."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.openai.responses.client_item_schemas import (
    AdditionalToolsItem,
    LocalShellCallItem,
    LocalShellOutputItem,
    PatchCallItem,
    PatchOutputItem,
    ShellCallItem,
    ShellOutputItem,
    ToolSearchCallItem,
    ToolSearchOutputItem,
)
from apiproxy.dialects.openai.responses.tools import loaded_names
from apiproxy.dialects.openai.translate.call_arguments import call_arguments
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames
from apiproxy.dialects.openai.translate.content import text_block
from apiproxy.dialects.openai.translate.conversation import Conversation
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

ClientItem = (
    LocalShellCallItem
    | LocalShellOutputItem
    | ShellCallItem
    | ShellOutputItem
    | PatchCallItem
    | PatchOutputItem
    | ToolSearchCallItem
    | ToolSearchOutputItem
    | AdditionalToolsItem
)

_FAILED = "failed"


class ClientItems:
    """Adds such items to a conversation."""

    def __init__(self, conversation: Conversation, names: ToolNames, ignored: IgnoredFields) -> None:
        self._ignored = ignored
        self._conversation = conversation
        self._names = names
        self._local_calls: dict[str, str] = {}

    def add(self, item: ClientItem, field: str) -> None:
        """Add an item. field: its path. Raises ProxyError (INVALID_REQUEST)."""
        match item:
            case LocalShellCallItem():
                self._add_local_call(item, field)
            case LocalShellOutputItem():
                self._add_local_output(item, field)
            case ShellCallItem():
                self._call(ToolKind.SHELL, item.call_id, _given(item.action), field)
            case ShellOutputItem():
                self._result(item.call_id, dumps(item.output).decode(), field)
            case PatchCallItem():
                self._call(ToolKind.APPLY_PATCH, item.call_id, _given(item.operation), field)
            case PatchOutputItem():
                text = item.output or item.status or ""
                self._result(item.call_id, text, field, failed=item.status == _FAILED)
            case ToolSearchCallItem():
                self._add_search(item, field)
            case ToolSearchOutputItem():
                self._add_found(item, field)
            case AdditionalToolsItem():
                pass  # declared with the request's tools

    def _add_local_call(self, item: LocalShellCallItem, field: str) -> None:
        call_id = item.call_id or item.id
        if not call_id:
            raise invalid_field(f"{field}.call_id", "Field required")
        if item.id:
            self._local_calls[item.id] = call_id
        action = {name: value for name, value in _given(item.action).items() if name != "type"}
        self._call(ToolKind.LOCAL_SHELL, call_id, action, field)

    def _add_local_output(self, item: LocalShellOutputItem, field: str) -> None:
        call_id = item.call_id or self._local_calls.get(item.id or "", item.id)
        if not call_id:
            raise invalid_field(f"{field}.call_id", "Field required")
        self._result(call_id, item.output, field)

    def _add_search(self, item: ToolSearchCallItem, field: str) -> None:
        """Add a search by the client.

        OpenAI's own search has no counterpart, and the tools found are declared anyway.
        """
        if item.call_id is None or item.execution == "server":
            return
        arguments = item.arguments if item.arguments is not None else {}
        if isinstance(arguments, str):
            arguments = call_arguments(
                arguments, f"{field}.arguments", values=self._conversation.values, ignored=self._ignored
            )
        if not isinstance(arguments, dict):
            raise invalid_field(f"{field}.arguments", "must be an object")
        self._call(ToolKind.TOOL_SEARCH, item.call_id, arguments, field)

    def _add_found(self, item: ToolSearchOutputItem, field: str) -> None:
        if item.call_id is None or item.execution == "server":
            return
        found = loaded_names(item.tools, self._names)
        text = f"These tools can be called now: {', '.join(found)}" if found else "No tools found."
        self._result(item.call_id, text, field)

    def _call(self, kind: ToolKind, call_id: str, arguments: dict[str, Any], field: str) -> None:
        name = self._names.of_call(CalledTool(kind=kind, name=kind))
        self._conversation.add_call(call_id, name, arguments, f"{field}.call_id")

    def _result(self, call_id: str, text: str, field: str, *, failed: bool = False) -> None:
        blocks = [text_block(text)] if text.strip() else []
        self._conversation.add_result(call_id, blocks, f"{field}.call_id", failed=failed)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
