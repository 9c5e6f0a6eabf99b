"""How many values a JSON text has, counted without parsing it.

Parsed, a value takes up to 70 times its bytes, and orjson holds the interpreter's lock until it has made the last one.
So the text is counted first and refused above `MAX_BODY_VALUES`: what is left takes less than 50 ms
(docs/decisions/0014-large-bodies.md).
"""

import orjson

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_pieces import masked_pieces, parse
from apiproxy.core.offload import LARGE_BYTES

MAX_BODY_VALUES = 300_000
"""Of a request. The Messages API takes 100,000 messages, of which the shortest form has three each by this count."""

_PIECE_BYTES = 256 * 1024

_MANY_VALUES = 50_000
"""More of them, or more than a megabyte, are parsed in pieces."""


class ValueBudget:
    """How many more values a request may have: its arguments of tool calls are JSON texts within its JSON."""

    def __init__(self, limit: int = MAX_BODY_VALUES, *, at_once: int = _MANY_VALUES) -> None:
        """at_once: how many values are parsed in one call."""
        self._limit = limit
        self._left = limit
        self._at_once = at_once

    def loads(self, text: bytes | str) -> object:
        """The value of the text. Raises ProxyError (INVALID_REQUEST) above the limit, ValueError for no JSON."""
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        count = most_values(raw)
        if count > self._left:
            count = exact_values(raw)
        if count > self._left:
            message = f"The request body has more than {self._limit} JSON values"
            raise ProxyError(FailureKind.INVALID_REQUEST, message)
        self._left -= count
        return parse(raw) if len(raw) > LARGE_BYTES or count > self._at_once else orjson.loads(raw)


def parse_counted(raw: bytes) -> object:
    """The value of a text whose values have been counted; in pieces if it is large. Raises ValueError for no JSON."""
    return parse(raw) if len(raw) > LARGE_BYTES or most_values(raw) > _MANY_VALUES else orjson.loads(raw)


def has_more_values(raw: bytes, limit: int) -> bool:
    """Whether the text, or the texts on its lines, have more values."""
    return most_values(raw) > limit and exact_values(raw) > limit


def values_in(value: object) -> int:
    """How many a value holds, as `exact_values` counts them in its text."""
    total, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            total += len(part) or 1
            waiting.extend(part.values())
        elif isinstance(part, list):
            total += len(part) or 1
            waiting.extend(part)
    return total


def most_values(raw: bytes) -> int:
    """As `exact_values`, but counting what stands within strings as well: quick, and often far too high."""
    total = 0
    for start in range(0, len(raw), _PIECE_BYTES):  # one count over all would be one call
        end = start + _PIECE_BYTES
        total += raw.count(b",", start, end) + raw.count(b"{", start, end) + raw.count(b"[", start, end)
    return total


def exact_values(raw: bytes) -> int:
    """Commas, objects and arrays outside of strings: at least as many as there are values, less one."""
    total = 0
    within = False
    for _, piece in masked_pieces(raw):
        parts = piece.split(b'"')
        outside = b"".join(parts[within::2])
        total += outside.count(b",") + outside.count(b"{") + outside.count(b"[")
        within ^= len(parts) % 2 == 0
    return total
