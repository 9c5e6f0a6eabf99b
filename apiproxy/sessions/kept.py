"""Kept messages as bytes: one JSON value a line, so that reading or writing many never holds the GIL for long. Pure.

The values are counted before they are made, and parsed and written in pieces: docs/decisions/0014-large-bodies.md.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_encoding import dump_pieces
from apiproxy.core.json_values import MAX_BODY_VALUES, has_more_values, parse_counted, values_in

MAX_BYTES = 32 * 1024 * 1024
"""Of kept and new messages together: the Messages API's limit. Source: https://platform.claude.com/docs/en/api/errors"""
_MIN_BYTES_PER_VALUE = 2


def encode(messages: Iterable[Any]) -> bytes:
    """The messages, a line each."""
    return b"\n".join(map(as_json, messages))


def decode(kept: bytes) -> list[Any]:
    """What was encoded; also what was kept as one JSON array before there were lines."""
    if kept.startswith(b"["):
        return list(from_json(kept))
    return [from_json(line) for line in _lines(kept)]


def decode_within(kept: bytes, beside: object = None, beside_bytes: int = 0) -> list[Any]:
    """As `decode`; raises ProxyError (TOO_LARGE) if they and the new messages have too many values.

    beside: the new messages, of so many bytes as JSON.
    """
    # The new messages are counted only if they could be too many.
    left = MAX_BODY_VALUES - beside_bytes // _MIN_BYTES_PER_VALUE
    if has_more_values(kept, left) and has_more_values(kept, MAX_BODY_VALUES - values_in(beside)):
        message = f"The kept messages and the request have more than {MAX_BODY_VALUES} JSON values"
        raise ProxyError(FailureKind.TOO_LARGE, message)
    return decode(kept)


def as_json(value: object) -> bytes:
    """The value as JSON on one line."""
    return b"".join(dump_pieces(value))


def from_json(data: bytes) -> Any:
    """The value that the JSON is."""
    try:
        return parse_counted(data)
    except ValueError:  # a lone surrogate, which only an upstream's answer can have
        return json.loads(data)


def _lines(kept: bytes) -> Iterator[bytes]:
    """One at a time: `split` would copy all in one call."""
    start = 0
    while start < len(kept):
        end = kept.find(b"\n", start)
        end = len(kept) if end < 0 else end
        if end > start:
            yield kept[start:end]
        start = end + 1
