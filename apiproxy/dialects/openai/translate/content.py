"""Message content: strings and content parts as Messages API blocks."""

from collections.abc import Mapping, Sequence
from typing import Any

from apiproxy.dialects.openai.chat.schemas import AudioPart, FilePart, ImagePart, RefusalPart, TextPart
from apiproxy.dialects.openai.fields import Cacheable
from apiproxy.dialects.openai.translate import media
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

Block = dict[str, Any]

MAX_BREAKPOINTS = 4  # the Messages API rejects a fifth `cache_control`
_LONG_LIFETIMES = ("30m", "1h", "12h", "24h")


def text_blocks(content: str | Sequence[TextPart | RefusalPart] | None) -> list[Block]:
    """Text blocks of a message, without blank text, which the upstream rejects."""
    if content is None:
        return []
    if isinstance(content, str):
        return [text_block(content)] if not is_blank(content) else []
    return [block for part in content if (block := _text_part_block(part)) is not None]


def content_blocks(
    content: str | Sequence[TextPart | ImagePart | FilePart | AudioPart] | None, field: str, ignored: IgnoredFields
) -> list[Block]:
    """Blocks of a user message or tool result, without blank text.

    field: path of the content.
    """
    if content is None or isinstance(content, str):
        return text_blocks(content)
    blocks = (_part_block(part, f"{field}.{index}", ignored) for index, part in enumerate(content))
    return [block for block in blocks if block is not None]


def text_block(text: str) -> Block:
    """Text block of the Messages API."""
    return {"type": "text", "text": text}


def is_blank(text: str) -> bool:
    """True if the text is empty or white space."""
    return not text or text.isspace()


def cache_mark(part: Cacheable) -> Mapping[str, Any]:
    """`cache_control` of a block, if the part ends a cached prefix.

    A breakpoint without a `ttl` gets the default lifetime of five minutes, renewed on each use, as a write for an hour
    costs 1.6 times as much. OpenAI's lifetimes start at 30 minutes, so each of them becomes an hour.
    """
    if part.cache_control is not None:
        return {"cache_control": part.cache_control}
    if part.prompt_cache_breakpoint is not None:
        asked = part.prompt_cache_breakpoint.get("ttl")
        return {"cache_control": {"type": "ephemeral"} | ({"ttl": "1h"} if asked in _LONG_LIFETIMES else {})}
    return {}


def drop_early_breakpoints(blocks: Sequence[Block], ignored: IgnoredFields, *, keep: int = MAX_BREAKPOINTS) -> None:
    """Keep the last cache breakpoints, as OpenAI does.

    blocks: all blocks of the request in order. keep: how many, at least one.
    """
    marked = [block for block in blocks if "cache_control" in block]
    if len(marked) > keep:
        ignored.add("prompt_cache_breakpoint", f"only the last {keep} are used")
    for block in marked[:-keep]:
        del block["cache_control"]


def _text_part_block(part: TextPart | RefusalPart) -> Block | None:
    if isinstance(part, RefusalPart):
        return None if is_blank(part.refusal) else text_block(part.refusal)
    return None if is_blank(part.text) else {"type": "text", "text": part.text, **cache_mark(part)}


def _part_block(part: TextPart | ImagePart | FilePart | AudioPart, field: str, ignored: IgnoredFields) -> Block | None:
    match part:
        case TextPart():
            return _text_part_block(part)
        case ImagePart():
            if part.image_url.detail not in (None, "auto"):
                ignored.add("image_url.detail")
            return {**media.image_block(part.image_url.url, f"{field}.image_url.url"), **cache_mark(part)}
        case FilePart():
            return {**_file_block(part, f"{field}.file"), **cache_mark(part)}
        case AudioPart():
            raise invalid_field(f"{field}.input_audio", "audio input is not supported")


def _file_block(part: FilePart, field: str) -> Block:
    file = part.file
    if file.file_data:
        return media.file_block(file.file_data, file.filename, f"{field}.file_data")
    if file.file_id:
        return media.uploaded_file_block(file.file_id, file.filename, f"{field}.file_id")
    raise invalid_field(f"{field}.file_data", "Field required")
