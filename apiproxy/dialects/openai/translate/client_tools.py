"""OpenAI's built-in tools that the client executes, as functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.dialects.openai.translate.called_tools import ToolKind

_STRING = {"type": "string"}
_PATCH_FORMAT = """\
The diff of a new file is its lines, each after a `+`. The diff of an update is one or more hunks: a line `@@`, with the
enclosing function or class behind it where the place would be unclear, then the lines around the change after a blank,
removed lines after a `-` and added lines after a `+`. It has neither line numbers nor a header with file names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTool:
    """Function for a built-in tool. parameters: a JSON schema."""

    description: str
    parameters: Mapping[str, Any]


CLIENT_TOOLS: Mapping[ToolKind, ClientTool] = {
    ToolKind.LOCAL_SHELL: ClientTool(
        description="Runs a program on the user's computer. Shell syntax needs a shell: `bash`, `-lc`, and a script.",
        parameters={
            "type": "object",
            "properties": {
                "command": {"type": "array", "items": _STRING, "description": "The program and its arguments."},
                "working_directory": _STRING,
                "timeout_ms": {"type": "integer"},
                "env": {"type": "object", "additionalProperties": _STRING},
                "user": _STRING,
            },
            "required": ["command"],
        },
    ),
    ToolKind.SHELL: ClientTool(
        description="Runs shell commands in the user's environment, and returns their output and exit codes.",
        parameters={
            "type": "object",
            "properties": {
                "commands": {"type": "array", "items": _STRING, "description": "Shell commands, run in this order."},
                "timeout_ms": {"type": "integer"},
                "max_output_length": {"type": "integer", "description": "Characters of output to return."},
            },
            "required": ["commands"],
        },
    ),
    ToolKind.APPLY_PATCH: ClientTool(
        description=f"Creates, updates or deletes one file of the user's workspace.\n\n{_PATCH_FORMAT}",
        parameters={
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                "path": {"type": "string", "description": "Path of the file, relative to the workspace."},
                "diff": {"type": "string", "description": "Left out to delete the file."},
            },
            "required": ["type", "path"],
        },
    ),
}
