"""Result of a tool call as the model gets it: text and images, of bounded size. Pure.

The CLI would put a larger result into a file, which the agent may not be able to read.
"""

from collections.abc import Iterable
from typing import Any

from mcp_types import (
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from apiproxy.core.json_encoding import dumps

MAX_TEXT_CHARS = 100_000
MAX_IMAGES = 10
MAX_IMAGE_CHARS = 5 * 1024 * 1024
"""Of one image in base64: the upstream's own limit."""

Block = TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource


def bounded_result(result: CallToolResult) -> CallToolResult:
    """The result with as much as the model may get; what is left out is named in a text."""
    content = list(_bounded(result.content))
    structured = result.structured_content if _is_small(result.structured_content) else None
    return CallToolResult(content=content, structured_content=structured, is_error=result.is_error)


def error_result(message: str) -> CallToolResult:
    """A failed call."""
    return CallToolResult(content=[TextContent(type="text", text=message[:MAX_TEXT_CHARS])], is_error=True)


def _bounded(blocks: Iterable[Block]) -> Iterable[TextContent | ImageContent]:
    total, left, images = 0, MAX_TEXT_CHARS, 0
    for block in blocks:
        if isinstance(block, ImageContent) and images < MAX_IMAGES and len(block.data) <= MAX_IMAGE_CHARS:
            images += 1
            yield ImageContent(type="image", data=block.data, mime_type=block.mime_type)
            continue
        text = _text_of(block)
        total += len(text)
        if left > 0:
            yield TextContent(type="text", text=text[:left])
        left -= len(text)
    if left < 0:
        note = f"[The result has {total} characters. The gateway has cut it off after {MAX_TEXT_CHARS}.]"
        yield TextContent(type="text", text=note)


def _text_of(block: Block) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent():
            return f"[An image that is too large, or one more than {MAX_IMAGES}, was left out.]"
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return resource.text
        case ResourceLink():
            return f"[Resource {block.uri}]"
        case EmbeddedResource():
            return f"[Resource {block.resource.uri} was left out: it is not text.]"
        case AudioContent():
            return "[Audio was left out.]"


def _is_small(structured: Any) -> bool:
    return len(dumps(structured)) <= MAX_TEXT_CHARS
