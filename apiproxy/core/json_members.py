"""Members of the outermost object of a JSON text, located without parsing their values."""

import re

import orjson

from apiproxy.core.json_pieces import structure

_KEY = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
_OPENING, _CLOSING, _COMMA = b"[{", b"]}", ord(",")
_SPACE = b" \t\r\n"


def outermost_members(text: bytes) -> dict[str, tuple[int, int]]:
    """Start and end of each value of a valid JSON object, by name."""
    members: dict[str, tuple[int, int]] = {}
    depth, begin = 0, -1
    for kind, start, end in structure(text):
        closes = kind in _CLOSING
        if begin >= 0 and depth == 1 and (closes or kind == _COMMA):
            if (key := _KEY.match(text, begin, start)) is not None:
                value = text[key.end() : start].rstrip(_SPACE)
                members[orjson.loads(key[1])] = (key.end(), key.end() + len(value))
            begin = end
        if kind in _OPENING:
            depth += 1
            if depth == 1:
                begin = end
        depth -= closes
    return members
