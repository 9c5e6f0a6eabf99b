"""Kept messages as bytes: one JSON value a line, so that reading or writing many never holds the GIL for long. Pure."""

import json
from collections.abc import Iterable
from typing import Any

import orjson

MAX_BYTES = 32 * 1024 * 1024
"""Of kept and new messages together: the Messages API's limit. Source: https://platform.claude.com/docs/en/api/errors"""
MAX_VALUES = 4_000_000
"""Of kept messages, counted by their brackets and commas: small values take many times their size in memory."""
_COUNTED_AT_ONCE = 1024 * 1024


def encode(messages: Iterable[Any]) -> bytes:
    """The messages, a line each."""
    return b"\n".join(map(as_json, messages))


def decode(kept: bytes) -> list[Any]:
    """What was encoded; also what was kept as one JSON array before there were lines."""
    if kept.startswith(b"["):
        return list(from_json(kept))
    return [from_json(line) for line in kept.split(b"\n") if line]


def too_many_values(kept: bytes) -> bool:
    """Whether the messages hold more than `MAX_VALUES`."""
    count, view = 0, memoryview(kept)
    for at in range(0, len(kept), _COUNTED_AT_ONCE):
        part = bytes(view[at : at + _COUNTED_AT_ONCE])
        count += part.count(b",") + part.count(b"{") + part.count(b"[")
    return count > MAX_VALUES


def as_json(value: object) -> bytes:
    """The value as JSON on one line."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        return json.dumps(value, separators=(",", ":")).encode()


def from_json(data: bytes) -> Any:
    """The value that the JSON is."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # a lone surrogate
        return json.loads(data)
