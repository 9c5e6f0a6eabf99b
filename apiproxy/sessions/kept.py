"""Stored messages as bytes: one JSON value per line. Pure.

So no call holds the GIL for long. The values are counted before they are created, and parsed and written in pieces:
docs/decisions/0014-large-bodies.md.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_encoding import dump_pieces
from apiproxy.core.json_values import MAX_BODY_VALUES, has_more_values, parse_counted, values_in

MAX_BYTES = 32 * 1024 * 1024
"""Limit of stored and new messages together, that of the Messages API. Source: https://platform.claude.com/docs/en/api/errors"""
_MIN_BYTES_PER_VALUE = 2


def encode(messages: Iterable[Any]) -> bytes:
    """Encode the messages, one per line."""
    return b"\n".join(map(as_json, messages))


def decode(kept: bytes) -> list[Any]:
    """Decode messages, including the old format, one JSON array."""
    if kept.startswith(b"["):
        return list(from_json(kept))
    return [from_json(line) for line in _lines(kept)]


def decode_within(kept: bytes, added: object = None, added_bytes: int = 0) -> list[Any]:
    """Like `decode`; raises ProxyError (TOO_LARGE) for too many values in all.

    added: the new messages; added_bytes: their size as JSON.
    """
    # The new messages are counted only if they might be too many.
    left = MAX_BODY_VALUES - added_bytes // _MIN_BYTES_PER_VALUE
    if has_more_values(kept, left) and has_more_values(kept, MAX_BODY_VALUES - values_in(added)):
        message = f"The stored messages and the request have more than {MAX_BODY_VALUES} JSON values"
        raise ProxyError(FailureKind.TOO_LARGE, message)
    return decode(kept)


def as_json(value: object) -> bytes:
    """Encode the value as one line of JSON."""
    return b"".join(dump_pieces(value))


def from_json(data: bytes) -> Any:
    """Parse JSON."""
    try:
        return parse_counted(data)
    except ValueError:  # a lone surrogate, possible in an upstream answer
        return json.loads(data)


def _lines(kept: bytes) -> Iterator[bytes]:
    """Yield the lines one by one; `split` would copy all in one call."""
    start = 0
    while start < len(kept):
        end = kept.find(b"\n", start)
        end = len(kept) if end < 0 else end
        if end > start:
            yield kept[start:end]
        start = end + 1
