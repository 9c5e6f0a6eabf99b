"""Request models of POST /v1/responses.

Source: the request types of the `openai` package.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from apiproxy.dialects.openai.chat.schemas import (
    Accepted,
    AudioPart,
    Cacheable,
    Effort,
    JsonObjectFormat,
    RefusalPart,
    Sampled,
    StreamOptions,
    TextFormat,
    ToolMode,
)
from apiproxy.dialects.openai.fields import FIRST_ERROR, Each, MaxTokens, checked


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


class MessageItem(Accepted):
    """Message of any role."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Each[InputPart]


class FunctionCallItem(Accepted):
    """Function call of the model."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class CustomCallItem(Accepted):
    """Call of a free-form tool, from a conversation with another model."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: str
    input: str


class CallOutputItem(Accepted):
    """Result of a function or free-form tool."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: str | Each[InputPart]


class ReasoningItem(Accepted):
    """Thinking. encrypted_content: as this gateway returned it with an earlier answer."""

    type: Literal["reasoning"]
    encrypted_content: str | None = None


class ReferenceItem(Accepted):
    """Reference to an item by id: parsed only to be rejected by name."""

    id: str


def _item_type(item: object) -> str | None:
    if not isinstance(item, dict):
        return "message"  # whose validation reports that it is not an object
    kind = item.get("type")
    if kind is None:
        kind = "message" if "role" in item else "item_reference"
    return {"custom_tool_call_output": "function_call_output"}.get(kind, kind) if isinstance(kind, str) else None


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[CustomCallItem, Tag("custom_tool_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ReferenceItem, Tag("item_reference")],
    Discriminator(_item_type),
]
ITEM: TypeAdapter[Item] = TypeAdapter(Item)


class ResponsesFunction(Accepted):
    """Function that the model may call."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(Accepted):
    """Choice that forces one function."""

    type: Literal["function"]
    name: str


class AllowedFunctions(Accepted):
    """Choice limited to a subset of the functions."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Each[dict[str, Any]]


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
    tool_choice: ToolMode | Annotated[NamedFunction | AllowedFunctions, Field(discriminator="type")] | None = None
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
