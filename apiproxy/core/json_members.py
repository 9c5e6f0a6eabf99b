"""Members of the outermost object of a JSON text, located without parsing their values."""

import re

import orjson

from apiproxy.core.json_pieces import structure

_KEY = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:', re.DOTALL)
_OPENING, _CLOSING, _COMMA = b"[{", b"]}", ord(",")


def outermost_members(text: bytes) -> dict[str, tuple[int, int]]:
    """Start and end of each value of a valid JSON object, by name. White space around the value is included."""
    members: dict[str, tuple[int, int]] = {}
    depth, begin = 0, -1
    for kind, start, end in structure(text):
        closes = kind in _CLOSING
        if begin >= 0 and depth == 1 and (closes or kind == _COMMA):
            if (key := _KEY.match(text, begin, start)) is not None:
                members[orjson.loads(key[1])] = (key.end(), start)
            begin = end
        if kind in _OPENING:
            depth += 1
            if depth == 1:
                begin = end
        depth -= closes
    return members
