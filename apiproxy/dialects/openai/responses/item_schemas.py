"""Models of the input items of POST /v1/responses.

Source: the request types of the `openai` package.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from apiproxy.dialects.openai.chat.schemas import AudioPart, RefusalPart
from apiproxy.dialects.openai.fields import Accepted, Cacheable, Each
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


class InputText(Cacheable):
    """Text part; `output_text` is from an earlier answer."""

    type: Literal["input_text", "output_text"]
    text: str


class InputImage(Cacheable):
    """Image: an http(s) or data URL, or the id of an uploaded file."""

    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(Cacheable):
    """Document: its content, its URL, or the id of an uploaded file."""

    type: Literal["input_file"]
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    detail: str | None = None


InputPart = Annotated[InputText | InputImage | InputFile | RefusalPart | AudioPart, Field(discriminator="type")]


class MessageItem(Cacheable):
    """Message of any role."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Each[InputPart]


class FunctionCallItem(Accepted):
    """Function call of the model."""

    type: Literal["function_call"]
    call_id: str
    name: str
    namespace: str | None = None
    arguments: str | dict[str, Any] | None = None


class CustomCallItem(Accepted):
    """Call of a free-form tool."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: str
    namespace: str | None = None
    input: str


class CallOutputItem(Accepted):
    """Result of a function or free-form tool."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: str | Each[InputPart]


class ReasoningItem(Accepted):
    """Thinking.

    encrypted_content: as this gateway returned it with an earlier answer. An item without it but with an id is a
    reference.
    """

    type: Literal["reasoning"]
    id: str | None = None
    encrypted_content: str | None = None


class SearchCallItem(Accepted):
    """Web search, without its results."""

    type: Literal["web_search_call"]
    status: Any = None


class McpCallItem(Accepted):
    """Call of an MCP tool with its result.

    Its fields are read leniently: an unusual one must not block a conversation.
    """

    type: Literal["mcp_call"]
    id: Any = None
    server_label: Any = None
    name: Any = None
    arguments: Any = None
    output: Any = None
    error: Any = None


class McpListingItem(Accepted):
    """Tools of an MCP server."""

    type: Literal["mcp_list_tools"]
    server_label: Any = None
    tools: Any = None


class HostedItem(Accepted):
    """Item of a tool that OpenAI runs; the upstream has no counterpart."""

    type: str


class CompactionItem(Accepted):
    """Summary in place of earlier items. encrypted_content: as this gateway returned it."""

    type: Literal["compaction", "compaction_summary"]
    encrypted_content: str | None = None


class CompactionTrigger(Accepted):
    """Request for a summary of all items before this last one."""

    type: Literal["compaction_trigger"]


class ReferenceItem(Accepted):
    """Item of a recent answer, by its id."""

    id: str


_SAME_KIND = {"custom_tool_call_output": "function_call_output", "compaction_summary": "compaction"}


def _item_type(item: object) -> str | None:
    if not isinstance(item, dict):
        return "message"  # whose validation reports that it is not an object
    kind = item.get("type")
    if kind is None:
        kind = "message" if "role" in item else "item_reference"
    if not isinstance(kind, str):
        return None
    if kind not in _KINDS and (kind in _HOSTED or kind.endswith(("_call", "_call_output"))):
        return "hosted"
    return _SAME_KIND.get(kind, kind)


_HOSTED = frozenset({"mcp_approval_request", "mcp_approval_response", "program", "program_output"})
"""Types of items of tools that OpenAI runs, besides those that end in `_call` or `_call_output`."""
_KINDS = frozenset({"function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"}) | {
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "tool_search_call",
    "web_search_call",
    "mcp_call",
}

Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[CustomCallItem, Tag("custom_tool_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[LocalShellCallItem, Tag("local_shell_call")]
    | Annotated[LocalShellOutputItem, Tag("local_shell_call_output")]
    | Annotated[ShellCallItem, Tag("shell_call")]
    | Annotated[ShellOutputItem, Tag("shell_call_output")]
    | Annotated[PatchCallItem, Tag("apply_patch_call")]
    | Annotated[PatchOutputItem, Tag("apply_patch_call_output")]
    | Annotated[ToolSearchCallItem, Tag("tool_search_call")]
    | Annotated[ToolSearchOutputItem, Tag("tool_search_output")]
    | Annotated[AdditionalToolsItem, Tag("additional_tools")]
    | Annotated[SearchCallItem, Tag("web_search_call")]
    | Annotated[McpCallItem, Tag("mcp_call")]
    | Annotated[McpListingItem, Tag("mcp_list_tools")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[CompactionItem, Tag("compaction")]
    | Annotated[CompactionTrigger, Tag("compaction_trigger")]
    | Annotated[ReferenceItem, Tag("item_reference")]
    | Annotated[HostedItem, Tag("hosted")],
    Discriminator(_item_type),
]
ITEM: TypeAdapter[Item] = TypeAdapter(Item)
