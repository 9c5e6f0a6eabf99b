"""What POST /v1/chat/completions accepts, as models of the body.

Only what the translation reads is checked. Fields that are known and cannot be honoured are `Any`; unknown ones pass
(`model_extra`). Both end up in the `x-proxy-ignored` header. Source: the request types of the `openai` package.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from apiproxy.dialects.openai.fields import FIRST_ERROR, Each, MaxTokens, checked

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ToolMode = Literal["none", "auto", "required"]


class Accepted(BaseModel):
    """A part of a request: no coercion between kinds, unknown fields pass."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)


class Cacheable(Accepted):
    """A part that may end a cached prefix, by OpenAI's word for it or by Anthropic's (as other gateways take it)."""

    cache_control: dict[str, Any] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class TextPart(Cacheable):
    """Text."""

    type: Literal["text"]
    text: str


class RefusalPart(Accepted):
    """What the assistant said when it refused."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(Accepted):
    """Where an image is: an http(s) address or a data URL."""

    url: str
    detail: str | None = None


class ImagePart(Cacheable):
    """An image; some clients give the address without the object around it."""

    type: Literal["image_url"]
    image_url: ImageUrl

    @field_validator("image_url", mode="before")
    @classmethod
    def _wrap(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value


class FileRef(Accepted):
    """A file: its content (a data URL or bare base64) or the id of an uploaded one."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Cacheable):
    """A document."""

    type: Literal["file"]
    file: FileRef


class AudioPart(Accepted):
    """Sound, which no Claude model takes: accepted here to be refused by name."""

    type: Literal["input_audio"]


AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
UserPart = Annotated[TextPart | ImagePart | FilePart | AudioPart, Field(discriminator="type")]


class FunctionCall(Accepted):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str


class CustomCall(Accepted):
    """A call of a free-form tool."""

    name: str
    input: str


class ToolCall(Accepted):
    """A call that the assistant made."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: FunctionCall | None = None
    custom: CustomCall | None = None


class SystemMessage(Accepted):
    """Instructions; `developer` is the newer word."""

    role: Literal["system", "developer"]
    content: str | Each[TextPart]
    name: str | None = None


class UserMessage(Accepted):
    """What the user says and shows."""

    role: Literal["user"]
    content: str | Each[UserPart]
    name: str | None = None


class AssistantMessage(Accepted):
    """What the model said. thinking_blocks: this gateway's own, sent back by the client as it got them."""

    role: Literal["assistant"]
    content: str | Each[AssistantPart] | None = None
    refusal: str | None = None
    tool_calls: Each[ToolCall] | None = None
    function_call: FunctionCall | None = None
    thinking_blocks: Each[dict[str, Any]] | None = None
    audio: Any = None
    name: str | None = None


class ToolMessage(Accepted):
    """What a tool returned."""

    role: Literal["tool"]
    content: str | Each[UserPart] | None = None
    tool_call_id: str


class FunctionMessage(Accepted):
    """What a function returned, before there were tools."""

    role: Literal["function"]
    content: str | None = None
    name: str


AnyMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
Message = Annotated[AnyMessage, Field(discriminator="role")]
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


class FunctionDefinition(Accepted):
    """A function that the model may call; parameters is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Cacheable):
    """A function as a tool."""

    type: Literal["function"]
    function: FunctionDefinition


class CustomTool(Accepted):
    """A free-form tool: accepted here to be refused by name."""

    type: Literal["custom"]


Tool = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]
TOOL: TypeAdapter[Tool] = TypeAdapter(Tool)


class Named(Accepted):
    """A name."""

    name: str


class NamedToolChoice(Accepted):
    """This function and no other."""

    type: Literal["function"]
    function: Named


class CustomToolChoice(Accepted):
    """This free-form tool and no other."""

    type: Literal["custom"]


class AllowedTools(Accepted):
    """A selection of the tools that the request declares."""

    mode: Literal["auto", "required"]
    tools: Each[dict[str, Any]]


class AllowedToolChoice(Accepted):
    """One of these tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = (
    ToolMode | Annotated[NamedToolChoice | AllowedToolChoice | CustomToolChoice, Field(discriminator="type")] | None
)


class TextFormat(Accepted):
    """Plain text."""

    type: Literal["text"]


class JsonObjectFormat(Accepted):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Accepted):
    """A JSON schema with a name."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Accepted):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Accepted):
    """How to stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampled(Accepted):
    """The fields that Chat Completions and Responses share."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=256)
    stream: bool | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    parallel_tool_calls: bool | None = None
    thinking: dict[str, Any] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None


class ChatRequest(Sampled):
    """A body of POST /v1/chat/completions.

    Three fields are not OpenAI's: `thinking` and `top_k` are the Messages API's own, `include_reasoning` asks for the
    model's thinking in the answer.
    """

    messages: Annotated[list[Annotated[Any, checked(MESSAGE)]], FIRST_ERROR] = Field(min_length=1)
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    n: int | None = Field(default=None, ge=1)
    stop: str | Each[str] | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[Annotated[Any, checked(TOOL)]], FIRST_ERROR] | None = None
    tool_choice: ToolChoice = None
    functions: Each[FunctionDefinition] | None = None
    function_call: Literal["none", "auto"] | Named | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    include_reasoning: bool | None = None
