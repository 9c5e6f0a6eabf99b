"""Server-sent events of one Responses stream, numbered in order."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.json_encoding import dumps


class EventWriter:
    """Collects encoded events until `take`."""

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._number = 0

    def emit(self, name: str, data: Mapping[str, Any]) -> None:
        """Add an event. data: its fields besides the type and the number."""
        payload = {"type": name, "sequence_number": self._number, **data}
        self._out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), dumps(payload)))
        self._number += 1

    def emit_delta(self, head: bytes, text: str) -> None:
        """Add a delta event, at the cost of one small `dumps`. head: from `delta_head`."""
        self._out.append(b'%b%b,"sequence_number":%d}\n\n' % (head, dumps(text), self._number))
        self._number += 1

    def take(self) -> bytes:
        """Return the collected events, and forget them."""
        out, self._out = self._out, []
        return b"".join(out)


def delta_head(name: str, data: Mapping[str, Any]) -> bytes:
    """Encoded delta event up to the text of its `delta`."""
    return b'event: %b\ndata: %b,"delta":' % (name.encode(), dumps({"type": name, **data})[:-1])
