"""Body for the upstream as the client sent it: key order, numbers and white space included."""

from collections.abc import Mapping
from typing import Any

import orjson

from apiproxy.core.json_members import outermost_members
from apiproxy.core.json_values import exact_values, values_in


def body_for_upstream(raw: bytes, body: Mapping[str, Any], *, model: str, max_tokens: int) -> bytes | None:
    """The received text with this model, and this max_tokens if it has none.

    body: the parsed text. None if a name is repeated in an object: the upstream might read another of the values than
    the gateway has checked.
    """
    if exact_values(raw) != values_in(body):
        return None
    edits: list[tuple[int, int, bytes]] = []
    needs_model, needs_max_tokens = body["model"] != model, body.get("max_tokens") is None
    if not needs_model and not needs_max_tokens:
        return raw
    members = outermost_members(raw)
    if needs_model:
        edits.append((*members["model"], orjson.dumps(model)))
    if needs_max_tokens and "max_tokens" in members:
        edits.append((*members["max_tokens"], b"%d" % max_tokens))
    elif needs_max_tokens:
        start = raw.index(b"{") + 1
        edits.append((start, start, b'"max_tokens":%d,' % max_tokens))
    return _edited(raw, edits)


def _edited(raw: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    view, done = memoryview(raw), 0
    parts: list[bytes | memoryview] = []
    for start, end, text in sorted(edits):
        parts += [view[done:start], text]
        done = end
    return b"".join([*parts, view[done:]])
