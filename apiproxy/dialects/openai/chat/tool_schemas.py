"""Request models of tools and `tool_choice` of POST /v1/chat/completions."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from apiproxy.dialects.openai.fields import MAX_TOOL_NAME_CHARS, Accepted, Cacheable, Each, ToolMode


class FunctionDefinition(Accepted):
    """Function that the model may call. parameters: a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Cacheable):
    """Function tool."""

    type: Literal["function"]
    function: FunctionDefinition


class CustomDefinition(Accepted):
    """Tool whose input is text. format: a grammar for it."""

    name: str = Field(max_length=MAX_TOOL_NAME_CHARS)
    description: str | None = None
    format: dict[str, Any] | None = None


class CustomTool(Cacheable):
    """Free-form tool."""

    type: Literal["custom"]
    custom: CustomDefinition


class UnknownTool(Accepted):
    """Tool of another type, which the upstream cannot get."""

    type: str


def _tool_type(tool: object) -> str | None:
    if not isinstance(tool, dict):
        return "function"  # whose validation reports that it is not an object
    kind = tool.get("type")
    if not isinstance(kind, str):
        return None
    return kind if kind in ("function", "custom") else "unknown"


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[CustomTool, Tag("custom")]
    | Annotated[UnknownTool, Tag("unknown")],
    Discriminator(_tool_type),
]
TOOL: TypeAdapter[Tool] = TypeAdapter(Tool)


class Named(Accepted):
    """Object with a name."""

    name: str


class NamedToolChoice(Accepted):
    """Choice that forces one function."""

    type: Literal["function"]
    function: Named


class CustomToolChoice(Accepted):
    """Choice that forces one free-form tool."""

    type: Literal["custom"]
    custom: Named


class AllowedTools(Accepted):
    """Subset of the declared tools."""

    mode: Literal["auto", "required"]
    tools: Each[dict[str, Any]]


class AllowedToolChoice(Accepted):
    """Choice limited to a subset of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = (
    ToolMode | Annotated[NamedToolChoice | AllowedToolChoice | CustomToolChoice, Field(discriminator="type")] | None
)
