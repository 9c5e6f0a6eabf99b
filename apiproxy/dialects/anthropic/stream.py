"""Stream of the Messages API. Internal events already have its format."""

from collections.abc import Sequence

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.dialects.anthropic.errors import error_body
from apiproxy.http.sse import encode_event, encode_event_data

_PING = encode_event("ping", {"type": "ping"})


class AnthropicStream:
    """`http.response.StreamEncoder` that passes events on unchanged."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        return b"".join([encode_event(event["type"], event) for event in events])

    def finish(self) -> bytes:
        return b""  # `message_stop` is an upstream event

    def failure(self, error: ProxyError) -> bytes:
        return encode_event_data("error", error_body(error, self._request_id))

    def ping(self) -> bytes:
        return _PING
