"""Models of input items of OpenAI's tools that the client executes.

Source: the request types of the `openai` package.
"""

from typing import Any, Literal

from apiproxy.dialects.openai.fields import Accepted, Each


class LocalShellCallItem(Accepted):
    """Call of `local_shell`. action: the program and its arguments."""

    type: Literal["local_shell_call"]
    call_id: str | None = None
    id: str | None = None
    action: dict[str, Any]


class LocalShellOutputItem(Accepted):
    """Result of `local_shell`, which refers to the call's `call_id` or `id`."""

    type: Literal["local_shell_call_output"]
    call_id: str | None = None
    id: str | None = None
    output: str


class ShellCallItem(Accepted):
    """Call of `shell`. action: the commands and their limits."""

    type: Literal["shell_call"]
    call_id: str
    action: dict[str, Any]


class ShellOutputItem(Accepted):
    """Result of `shell`: output and outcome of each command."""

    type: Literal["shell_call_output"]
    call_id: str
    output: Each[dict[str, Any]]


class PatchCallItem(Accepted):
    """Call of `apply_patch`. operation: what to do with which file."""

    type: Literal["apply_patch_call"]
    call_id: str
    operation: dict[str, Any]


class PatchOutputItem(Accepted):
    """Result of `apply_patch`."""

    type: Literal["apply_patch_call_output"]
    call_id: str
    status: str | None = None
    output: str | None = None


class ToolSearchCallItem(Accepted):
    """Search for tools, by the client or by OpenAI."""

    type: Literal["tool_search_call"]
    call_id: str | None = None
    execution: str | None = None
    arguments: Any = None


class ToolSearchOutputItem(Accepted):
    """Tools found, which can be called from here on."""

    type: Literal["tool_search_output"]
    call_id: str | None = None
    execution: str | None = None
    tools: Each[dict[str, Any]]


class AdditionalToolsItem(Accepted):
    """Tools that can be called from here on."""

    type: Literal["additional_tools"]
    tools: Each[dict[str, Any]]
