"""Content of Responses input, and thinking as `encrypted_content`."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from apiproxy.core.json_encoding import dumps
from apiproxy.core.json_values import ValueBudget
from apiproxy.dialects.openai.chat.schemas import AudioPart, RefusalPart
from apiproxy.dialects.openai.responses.item_schemas import InputFile, InputImage, InputText
from apiproxy.dialects.openai.translate import media
from apiproxy.dialects.openai.translate.content import Block, cache_mark, is_blank, text_block, text_blocks
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

_MARKER = "thinking-1."
_DEFAULT_DETAILS = (None, "auto")

Part = InputText | InputImage | InputFile | RefusalPart | AudioPart


def blocks(content: str | Sequence[Part], field: str, ignored: IgnoredFields) -> list[Block]:
    """Blocks for an item's content, without blank text. field: path of the content."""
    if isinstance(content, str):
        return text_blocks(content)
    found = (_block(part, f"{field}.{index}", ignored) for index, part in enumerate(content))
    return [block for block in found if block is not None]


def encode_thinking(block: Mapping[str, Any]) -> str:
    """Encode a thinking block as `encrypted_content`, opaque to clients."""
    return _MARKER + base64.urlsafe_b64encode(dumps(block)).decode()


def decode_thinking(content: str, values: ValueBudget) -> dict[str, Any] | None:
    """Decode `encrypted_content`; None if another service made it.

    values: budget of the whole request.
    """
    if not content.startswith(_MARKER):
        return None
    try:
        block = values.loads(base64.urlsafe_b64decode(content.removeprefix(_MARKER)))
    except (binascii.Error, ValueError):
        return None
    return block if isinstance(block, dict) else None


def _block(part: Part, field: str, ignored: IgnoredFields) -> Block | None:
    match part:
        case InputText():
            return None if is_blank(part.text) else {**text_block(part.text), **cache_mark(part)}
        case RefusalPart():
            return None if is_blank(part.refusal) else text_block(part.refusal)
        case InputImage():
            if part.detail not in _DEFAULT_DETAILS:
                ignored.add("input_image.detail")
            return {**_image(part, field), **cache_mark(part)}
        case InputFile():
            if part.detail not in _DEFAULT_DETAILS:
                ignored.add("input_file.detail")
            return {**_file(part, field), **cache_mark(part)}
        case AudioPart():
            raise invalid_field(f"{field}.input_audio", "audio input is not supported")


def _image(part: InputImage, field: str) -> Block:
    if part.image_url:
        return media.image_block(part.image_url, f"{field}.image_url")
    if part.file_id:
        document = media.uploaded_file_block(part.file_id, None, f"{field}.file_id")
        return {"type": "image", "source": document["source"]}
    raise invalid_field(f"{field}.image_url", "Field required")


def _file(part: InputFile, field: str) -> Block:
    if part.file_data:
        return media.file_block(part.file_data, part.filename, f"{field}.file_data")
    if part.file_url:
        return media.document_url_block(part.file_url, part.filename, f"{field}.file_url")
    if part.file_id:
        return media.uploaded_file_block(part.file_id, part.filename, f"{field}.file_id")
    raise invalid_field(f"{field}.file_data", "Field required")
