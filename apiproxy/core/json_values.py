"""Limit on the number of values in a JSON text, counted without parsing it.

A parsed value takes up to 70 times its bytes, and orjson holds the GIL until the last one. Texts above
`MAX_BODY_VALUES` are rejected; the others take less than 50 ms (docs/decisions/0014-large-bodies.md).
"""

import orjson

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_pieces import masked_pieces, parse
from apiproxy.core.offload import LARGE_BYTES

MAX_BODY_VALUES = 300_000
"""Per request. The API accepts 100,000 messages; the shortest counts as three."""

_PIECE_BYTES = 256 * 1024

_MANY_VALUES = 50_000
"""Texts with more values, or over a megabyte, are parsed in pieces."""


class ValueBudget:
    """Number of JSON values a request may still have.

    Shared by its texts: tool call arguments are JSON inside its JSON.
    """

    def __init__(self, limit: int = MAX_BODY_VALUES, *, at_once: int = _MANY_VALUES) -> None:
        """at_once: maximum number of values parsed in one call."""
        self._limit = limit
        self._left = limit
        self._at_once = at_once

    def loads(self, text: bytes | str) -> object:
        """Parse a text.

        Raises ProxyError (INVALID_REQUEST) over the limit, ValueError for invalid JSON.
        """
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        count = max_value_count(raw)
        if count > self._left:
            count = exact_values(raw)
        if count > self._left:
            message = f"The request body has more than {self._limit} JSON values"
            raise ProxyError(FailureKind.INVALID_REQUEST, message)
        self._left -= count
        return parse(raw) if len(raw) > LARGE_BYTES or count > self._at_once else orjson.loads(raw)


def parse_counted(raw: bytes) -> object:
    """Parse a text that is within the limit, in pieces if it is large.

    Raises ValueError for invalid JSON.
    """
    return parse(raw) if len(raw) > LARGE_BYTES or max_value_count(raw) > _MANY_VALUES else orjson.loads(raw)


def has_more_values(raw: bytes, limit: int) -> bool:
    """True if a text, or the lines of a text together, exceed the limit."""
    return max_value_count(raw) > limit and exact_values(raw) > limit


def values_in(value: object) -> int:
    """Number of values in a parsed value, counted like `exact_values`."""
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


def max_value_count(raw: bytes) -> int:
    """Fast upper bound of `exact_values`.

    It counts inside strings too and is often far too high.
    """
    total = 0
    for start in range(0, len(raw), _PIECE_BYTES):  # a single count would hold the GIL
        end = start + _PIECE_BYTES
        total += raw.count(b",", start, end) + raw.count(b"{", start, end) + raw.count(b"[", start, end)
    return total


def exact_values(raw: bytes) -> int:
    """Number of commas, objects and arrays outside of strings.

    At least the number of values less one.
    """
    total = 0
    within = False
    for _, piece in masked_pieces(raw):
        parts = piece.split(b'"')
        outside = b"".join(parts[within::2])
        total += outside.count(b",") + outside.count(b"{") + outside.count(b"[")
        within ^= len(parts) % 2 == 0
    return total
