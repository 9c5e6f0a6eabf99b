"""Request models of POST /v1/chat/completions.

Only fields that the translation reads are validated. Known but unsupported fields are `Any`; unknown fields are kept in
`model_extra`. Both are listed in the header `x-proxy-ignored`. Source: the request types of the `openai` package.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, field_validator

from apiproxy.dialects.openai.chat.search_schemas import WebSearchOptions
from apiproxy.dialects.openai.chat.tool_schemas import TOOL, FunctionDefinition, Named, ToolChoice
from apiproxy.dialects.openai.fields import FIRST_ERROR, Accepted, Cacheable, Each, Effort, MaxTokens, checked


class TextPart(Cacheable):
    """Text part."""

    type: Literal["text"]
    text: str


class RefusalPart(Accepted):
    """Text of an assistant's refusal."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(Accepted):
    """Address of an image: an http(s) or data URL."""

    url: str
    detail: str | None = None


class ImagePart(Cacheable):
    """Image part; some clients send a bare URL instead of an object."""

    type: Literal["image_url"]
    image_url: ImageUrl

    @field_validator("image_url", mode="before")
    @classmethod
    def _wrap(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value


class FileRef(Accepted):
    """File content (data URL or plain base64), or the id of an uploaded file."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Cacheable):
    """Document part."""

    type: Literal["file"]
    file: FileRef


class AudioPart(Accepted):
    """Audio part, which no Claude model accepts: parsed to be rejected by name."""

    type: Literal["input_audio"]


AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
UserPart = Annotated[TextPart | ImagePart | FilePart | AudioPart, Field(discriminator="type")]


class FunctionCall(Accepted):
    """Function name, and arguments as JSON text; some clients send the object itself."""

    name: str
    arguments: str | dict[str, Any] | None = None


class CustomCall(Accepted):
    """Call of a free-form tool."""

    name: str
    input: str


class ToolCall(Accepted):
    """Tool call of the assistant."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: FunctionCall | None = None
    custom: CustomCall | None = None


class SystemMessage(Cacheable):
    """Instructions; `developer` is the newer role name."""

    role: Literal["system", "developer"]
    content: str | Each[TextPart]
    name: str | None = None


class UserMessage(Cacheable):
    """User message."""

    role: Literal["user"]
    content: str | Each[UserPart]
    name: str | None = None


class AssistantMessage(Cacheable):
    """Assistant message, optionally with thinking of an earlier answer in any notation.

    `given_thinking` reads it.
    """

    role: Literal["assistant"]
    content: str | Each[AssistantPart] | None = None
    refusal: str | None = None
    tool_calls: Each[ToolCall] | None = None
    function_call: FunctionCall | None = None
    thinking_blocks: Any = None
    reasoning_details: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    audio: Any = None
    name: str | None = None


class ToolMessage(Cacheable):
    """Tool result."""

    role: Literal["tool"]
    content: str | Each[UserPart] | None = None
    tool_call_id: str


class FunctionMessage(Accepted):
    """Result of a function (OpenAI's API before tools)."""

    role: Literal["function"]
    content: str | None = None
    name: str


AnyMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
Message = Annotated[AnyMessage, Field(discriminator="role")]
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


class TextFormat(Accepted):
    """Plain text format."""

    type: Literal["text"]


class JsonObjectFormat(Accepted):
    """JSON object of any form, or with a schema, as other servers accept it."""

    type: Literal["json_object"]
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class NamedSchema(Accepted):
    """JSON schema with a name."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Accepted):
    """JSON that conforms to a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Accepted):
    """Stream options."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampled(Accepted):
    """Fields that Chat Completions and Responses share."""

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


class ReasoningOptions(Accepted):
    """Reasoning as in OpenRouter's API and in Responses.

    max_tokens: limit of the thinking. exclude: do not return it.
    """

    effort: Effort | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    exclude: bool | None = None
    enabled: bool | None = None


class ChatRequest(Sampled):
    """Body of POST /v1/chat/completions.

    Four fields are not OpenAI's: `thinking` and `top_k` are the Messages API's, `include_reasoning` adds the model's
    thinking to the answer, and `reasoning` is OpenRouter's.
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
    web_search_options: WebSearchOptions | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningOptions | None = None
    include_reasoning: bool | None = None

    @field_validator("reasoning_effort", mode="before")
    @classmethod
    def _unwrap(cls, value: object) -> object:
        """LiteLLM also has an object, as in Responses."""
        return value.get("effort") if isinstance(value, dict) else value
