"""Server-sent events as bytes. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

import json
from collections.abc import Mapping
from typing import Any

import orjson

CONTENT_TYPE = "text/event-stream; charset=utf-8"


def encode_event(name: str, data: Mapping[str, Any]) -> bytes:
    """One named event with its data as one line of JSON."""
    return b"event: " + name.encode() + b"\ndata: " + dumps(data) + b"\n\n"


def encode_data(data: Mapping[str, Any]) -> bytes:
    """One unnamed event, as in the OpenAI API."""
    return b"data: " + dumps(data) + b"\n\n"


def dumps(data: Mapping[str, Any]) -> bytes:
    """Single-line JSON. Escapes lone surrogates, on which orjson raises TypeError."""
    try:
        return orjson.dumps(data)
    except TypeError:
        return json.dumps(data, separators=(",", ":")).encode()
