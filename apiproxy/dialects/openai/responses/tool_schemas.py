"""Models of tools and `tool_choice` of POST /v1/responses.

Source: the request types of the `openai` package.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from apiproxy.dialects.openai.fields import MAX_TOOL_NAME_CHARS, Accepted, Cacheable, Each

ToolName = Annotated[str, Field(max_length=MAX_TOOL_NAME_CHARS)]


class ResponsesFunction(Cacheable):
    """Function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FreeFormTool(Cacheable):
    """Tool whose input is text. format: a grammar for it."""

    name: ToolName
    description: str | None = None
    format: dict[str, Any] | None = None


class Namespace(Accepted):
    """Functions and free-form tools under a common name."""

    name: ToolName
    description: str | None = None
    tools: Each[dict[str, Any]]


class ToolSearch(Accepted):
    """Search for further tools. parameters: of a search by the client."""

    execution: str = "server"
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Shell(Accepted):
    """Shell; without an environment, or in a local one, the client's."""

    environment: dict[str, Any] | None = None


class NamedTool(Accepted):
    """Choice that forces one function or free-form tool, or an entry of the allowed ones."""

    name: str
    namespace: str | None = None


class AllowedTools(Accepted):
    """Choice limited to a subset of the tools."""

    mode: Literal["auto", "required"]
    tools: Each[dict[str, Any]]


class McpChoice(Accepted):
    """Choice that forces a call of an MCP server, or of one of its tools."""

    server_label: str
    name: str | None = None
