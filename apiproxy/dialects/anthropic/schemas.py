"""Fields of a Messages body that the gateway reads.

The upstream validates all others, including unknown ones.

Source: https://platform.claude.com/docs/en/api/messages
"""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
)

from apiproxy.core.turns import MAX_TOKENS_LIMIT

_BLOCKS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
TextOrBlocks = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, _BLOCKS]})]


class MessageIn(BaseModel):
    """Message; its content blocks are not validated."""

    model_config = ConfigDict(extra="allow")

    role: StrictStr
    content: TextOrBlocks

    @field_validator("content")
    @classmethod
    def _string_or_blocks(cls, content: object) -> object:
        if isinstance(content, str) or _is_blocks(content):
            return content
        raise ValueError("Input should be a valid string or a list of content blocks")


def _checked(message: object, check: ValidatorFunctionWrapHandler) -> object:
    """Validate but keep the dict: models would take 30 times the memory."""
    check(message)
    return message


class MessagesIn(BaseModel):
    """Body of POST /v1/messages. Validation of a list stops at its first error."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[StrictStr, Field(min_length=1, max_length=256)]
    messages: Annotated[list[Annotated[MessageIn, WrapValidator(_checked)]], FailFast(), Field(min_length=1)]
    max_tokens: Annotated[StrictInt, Field(ge=0, le=MAX_TOKENS_LIMIT)] | None = None
    stream: StrictBool | None = None
    system: TextOrBlocks | None = None
    metadata: dict[str, Any] | None = None

    @field_validator("system")
    @classmethod
    def _system_is_text(cls, system: object) -> object:
        if system is None or isinstance(system, str) or _is_blocks(system):
            return system
        raise ValueError("Input should be a valid string or a list of text blocks")


def _is_blocks(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(block, dict) for block in value)
