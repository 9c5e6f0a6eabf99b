"""Server-sent events as bytes. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.json_encoding import dumps

CONTENT_TYPE = "text/event-stream; charset=utf-8"


def encode_event(name: str, data: Mapping[str, Any]) -> bytes:
    """One named event with its data as one line of JSON."""
    return b"event: " + name.encode() + b"\ndata: " + dumps(data) + b"\n\n"


def encode_event_data(name: str, data: bytes) -> bytes:
    """One named event with data that may have several lines; the reader joins them by line feeds."""
    lines = b"".join(b"data: " + line + b"\n" for line in data.splitlines())
    return b"event: " + name.encode() + b"\n" + lines + b"\n"
