"""Content of messages: strings and parts as blocks of the Messages API."""

from collections.abc import Mapping, Sequence
from typing import Any

from apiproxy.dialects.openai.chat.schemas import AudioPart, Cacheable, FilePart, ImagePart, RefusalPart, TextPart
from apiproxy.dialects.openai.translate import media
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

Block = dict[str, Any]

MAX_BREAKPOINTS = 4  # the Messages API refuses a fifth `cache_control`
_LONG_LIFETIMES = ("30m", "1h", "12h", "24h")


def text_blocks(content: str | Sequence[TextPart | RefusalPart] | None) -> list[Block]:
    """Text blocks for what a system message or the assistant says. Blank text is left out: the upstream refuses it."""
    if content is None:
        return []
    if isinstance(content, str):
        return [text_block(content)] if not is_blank(content) else []
    return [block for part in content if (block := _text_part_block(part)) is not None]


def content_blocks(
    content: str | Sequence[TextPart | ImagePart | FilePart | AudioPart] | None, field: str, ignored: IgnoredFields
) -> list[Block]:
    """Blocks for what a user says and shows, or a tool returns; blank text is left out. field: the content's path."""
    if content is None or isinstance(content, str):
        return text_blocks(content)
    blocks = (_part_block(part, f"{field}.{index}", ignored) for index, part in enumerate(content))
    return [block for block in blocks if block is not None]


def text_block(text: str) -> Block:
    """A text block."""
    return {"type": "text", "text": text}


def is_blank(text: str) -> bool:
    """Whether there is nothing in it but white space."""
    return not text or text.isspace()


def cache_mark(part: Cacheable) -> Mapping[str, Any]:
    """The `cache_control` of a block, if the part ends a cached prefix.

    A breakpoint without a `ttl` gets the cheap lifetime of five minutes, which each use renews: a write for an hour
    costs 1.6 times as much. OpenAI's lifetimes begin at 30 minutes: where the client names one, it is an hour here.
    """
    if part.cache_control is not None:
        return {"cache_control": part.cache_control}
    if part.prompt_cache_breakpoint is not None:
        asked = part.prompt_cache_breakpoint.get("ttl")
        return {"cache_control": {"type": "ephemeral"} | ({"ttl": "1h"} if asked in _LONG_LIFETIMES else {})}
    return {}


def drop_early_breakpoints(blocks: Sequence[Block], ignored: IgnoredFields) -> None:
    """Keeps the last four cache breakpoints, as OpenAI does. blocks: all of the request's, in its order."""
    marked = [block for block in blocks if "cache_control" in block]
    if len(marked) > MAX_BREAKPOINTS:
        ignored.add("prompt_cache_breakpoint", f"the last {MAX_BREAKPOINTS} of them count")
    for block in marked[:-MAX_BREAKPOINTS]:
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
            raise invalid_field(f"{field}.input_audio", "no model here takes sound")


def _file_block(part: FilePart, field: str) -> Block:
    file = part.file
    if file.file_data:
        return media.file_block(file.file_data, file.filename, f"{field}.file_data")
    if file.file_id:
        return media.uploaded_file_block(file.file_id, file.filename, f"{field}.file_id")
    raise invalid_field(f"{field}.file_data", "Field required")
