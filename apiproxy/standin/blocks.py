"""Content blocks: as they are announced, as they are streamed, and complete."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from apiproxy.core.turns import new_id

JsonObject = dict[str, Any]
SIGNATURE = "c3RhbmQtaW4gc2lnbmF0dXJl"
"""The signature of every thinking block: base64 as the real ones, and nothing more."""

_JSON_PIECE = 9
_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")


@dataclass(frozen=True, slots=True)
class Block:
    """`announced` in content_block_start, then `deltas`, which together make `complete`."""

    announced: JsonObject
    deltas: Sequence[JsonObject]
    complete: JsonObject


def words(text: str) -> list[str]:
    """The text in small pieces, as a model writes it; joined they are the text again."""
    return _WORD.findall(text) or ([text] if text else [])


def text_block(pieces: Sequence[str], *, cited: str | None = None) -> Block:
    """A text block, with one citation where a text to cite is given."""
    deltas: list[JsonObject] = [{"type": "text_delta", "text": piece} for piece in pieces]
    complete: JsonObject = {"type": "text", "text": "".join(pieces)}
    if cited is not None:
        citation = {
            "type": "char_location",
            "cited_text": cited,
            "document_index": 0,
            "document_title": None,
            "start_char_index": 0,
            "end_char_index": len(cited),
        }
        deltas.append({"type": "citations_delta", "citation": citation})
        complete["citations"] = [citation]
    return Block({"type": "text", "text": "", **({"citations": []} if cited is not None else {})}, deltas, complete)


def thinking_block(text: str) -> Block:
    """A thinking block; the signature comes in a delta of its own, as from the API."""
    deltas: list[JsonObject] = [{"type": "thinking_delta", "thinking": piece} for piece in words(text)]
    deltas.append({"type": "signature_delta", "signature": SIGNATURE})
    return Block(
        {"type": "thinking", "thinking": "", "signature": ""},
        deltas,
        {"type": "thinking", "thinking": text, "signature": SIGNATURE},
    )


def literal_block(block: Mapping[str, Any]) -> Block:
    """A block that is announced whole and has no deltas: redacted_thinking, web_search_tool_result, anything."""
    return Block(dict(block), (), dict(block))


def tool_block(name: str, tool_input: object) -> Block:
    """A tool_use block; the input's JSON is streamed in pieces that are no JSON themselves."""
    block = {"type": "tool_use", "id": new_id("toolu_"), "name": name}
    written = orjson.dumps(tool_input).decode() if tool_input else ""
    pieces = ["", *(written[at : at + _JSON_PIECE] for at in range(0, len(written), _JSON_PIECE))]
    deltas: list[JsonObject] = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return Block({**block, "input": {}}, deltas, {**block, "input": tool_input})
