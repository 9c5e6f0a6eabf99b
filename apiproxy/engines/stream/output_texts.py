"""Output in stream events. Pure."""

from apiproxy.core.events import StreamEvent

_TEXTS = ("text", "thinking", "partial_json")


def output_texts(event: StreamEvent) -> list[str]:
    """Output in an event: text, thinking, or a tool's arguments."""
    delta = event.get("delta")
    if event["type"] != "content_block_delta" or not isinstance(delta, dict):
        return []
    return [delta[name] for name in _TEXTS if isinstance(delta.get(name), str)]


def utf8_bytes(text: str) -> int:
    """Length in UTF-8; lone surrogates count three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
