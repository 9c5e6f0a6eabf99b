"""Content blocks: start, deltas and final form."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from apiproxy.core.turns import new_id

JsonObject = dict[str, Any]
SIGNATURE = "c3RhbmQtaW4gc2lnbmF0dXJl"
"""Signature of every thinking block: valid base64 and nothing else."""

_JSON_PIECE = 9
_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")


@dataclass(frozen=True, slots=True)
class Block:
    """A content block: `announced` in its start event; `deltas` add up to `complete`."""

    announced: JsonObject
    deltas: Sequence[JsonObject]
    complete: JsonObject


def words(text: str) -> list[str]:
    """Split a text into deltas of about a word; joined, they are the text."""
    return _WORD.findall(text) or ([text] if text else [])


def text_block(pieces: Sequence[str]) -> Block:
    """A text block, streamed in these pieces."""
    deltas: list[JsonObject] = [{"type": "text_delta", "text": piece} for piece in pieces]
    return Block({"type": "text", "text": ""}, deltas, {"type": "text", "text": "".join(pieces)})


def thinking_block(text: str) -> Block:
    """A thinking block; the signature has its own delta, as in the API."""
    deltas: list[JsonObject] = [{"type": "thinking_delta", "thinking": piece} for piece in words(text)]
    deltas.append({"type": "signature_delta", "signature": SIGNATURE})
    return Block(
        {"type": "thinking", "thinking": "", "signature": ""},
        deltas,
        {"type": "thinking", "thinking": text, "signature": SIGNATURE},
    )


def tool_block(name: str, tool_input: object) -> Block:
    """A tool_use block; the streamed pieces of its input are not valid JSON."""
    block = {"type": "tool_use", "id": new_id("toolu_"), "name": name}
    written = orjson.dumps(tool_input).decode() if tool_input else ""
    pieces = ["", *(written[at : at + _JSON_PIECE] for at in range(0, len(written), _JSON_PIECE))]
    deltas: list[JsonObject] = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return Block({**block, "input": {}}, deltas, {**block, "input": tool_input})
