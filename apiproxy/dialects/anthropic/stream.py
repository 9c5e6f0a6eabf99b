"""From events to the Messages API's own stream and message.

The canonical form is this dialect's, so little is to do.
"""

from collections.abc import Sequence

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.dialects.anthropic.errors import error_object
from apiproxy.http.sse import encode_event

_PING = encode_event("ping", {"type": "ping"})


class AnthropicStream:
    """A `http.response.StreamEncoder`: every event as it came."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        """The events under their own names."""
        return b"".join([encode_event(event["type"], event) for event in events])

    def finish(self) -> bytes:
        """Nothing: `message_stop` is an event of the upstream."""
        return b""

    def failure(self, error: ProxyError) -> bytes:
        """An `error` event."""
        return encode_event("error", error_object(error, self._request_id))

    def ping(self) -> bytes:
        """A `ping` event."""
        return _PING
