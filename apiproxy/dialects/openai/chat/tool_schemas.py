"""Request models of tools and `tool_choice` of POST /v1/chat/completions."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from apiproxy.dialects.openai.fields import Accepted, Cacheable, Each, ToolMode


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


class CustomTool(Accepted):
    """Free-form tool: parsed only to be rejected by name."""

    type: Literal["custom"]


Tool = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]
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
