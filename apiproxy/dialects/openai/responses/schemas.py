"""Request models of POST /v1/responses.

Source: the request types of the `openai` package.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from apiproxy.dialects.openai.chat.schemas import JsonObjectFormat, Sampled, StreamOptions, TextFormat
from apiproxy.dialects.openai.fields import FIRST_ERROR, Accepted, Each, Effort, MaxTokens, ToolMode, checked
from apiproxy.dialects.openai.responses.item_schemas import ITEM


class SchemaFormat(Accepted):
    """JSON that conforms to a schema."""

    type: Literal["json_schema"]
    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextConfig(Accepted):
    """Format of the text."""

    format: Annotated[TextFormat | JsonObjectFormat | SchemaFormat, Field(discriminator="type")] | None = None
    verbosity: str | None = None


class ReasoningConfig(Accepted):
    """Reasoning effort, and whether to include a summary."""

    effort: Effort | None = None
    summary: str | None = None
    generate_summary: str | None = None
    mode: str | None = None
    context: str | None = None


class ResponsesRequest(Sampled):
    """Body of POST /v1/responses."""

    input: str | Annotated[list[Annotated[Any, checked(ITEM)]], FIRST_ERROR]
    instructions: str | None = None
    max_output_tokens: MaxTokens | None = None
    tools: Each[dict[str, Any]] | None = None
    tool_choice: ToolMode | dict[str, Any] | None = None
    max_tool_calls: int | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    include: Each[str] | None = None
    store: bool | None = None
    background: bool | None = None
    truncation: str | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    stream_options: StreamOptions | None = None
