"""Reading of answers as an HTTP client: chunks, server-sent events, the text. Pure, and not timed."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

Event = dict[str, Any]

_GROWING = {"text_delta": "text", "input_json_delta": "partial_json"}


class BadAnswerError(Exception):
    """An answer that is not what was asked for; the text says how it differs."""


def dechunk(body: bytes) -> bytes:
    """The content of a body in chunked transfer coding. Raises BadAnswerError where it is not exactly that."""
    parts = []
    position = 0
    while True:
        end = body.find(b"\r\n", position)
        try:
            size = int(body[position:end], 16)
        except ValueError as error:
            raise BadAnswerError(f"no chunk size at {position}: {body[position : position + 20]!r}") from error
        start, position = end + 2, end + 2 + size
        if body[position : position + 2] != b"\r\n":
            raise BadAnswerError(f"the chunk at {start} does not end after {size} bytes")
        position += 2
        if size == 0:
            break
        parts.append(body[start : start + size])
    if position != len(body):
        raise BadAnswerError(f"{len(body) - position} bytes after the last chunk")
    return b"".join(parts)


def events_of(stream: bytes) -> list[Event]:
    """The events of a stream. Raises BadAnswerError for one that is not JSON, an `error`, and a missing end."""
    events: list[Event] = []
    for block in stream.split(b"\n\n"):
        _, found, data = block.partition(b"data: ")
        if found:
            try:
                events.append(orjson.loads(data))
            except orjson.JSONDecodeError as error:
                raise BadAnswerError(f"an event is not JSON: {data[:200]!r}") from error
    if failed := [event for event in events if event.get("type") == "error"]:
        raise BadAnswerError(f"the stream failed: {failed[0]}")
    if not events or events[-1].get("type") != "message_stop":
        raise BadAnswerError(f"the stream has no end after {len(events)} events")
    return events


def text_of_events(events: Iterable[Mapping[str, Any]]) -> str:
    """The text, with the arguments of tool calls where they come in it."""
    deltas = (event["delta"] for event in events if event["type"] == "content_block_delta")
    return "".join([delta[_GROWING[delta["type"]]] for delta in deltas if delta["type"] in _GROWING])


def text_of_message(body: bytes) -> str:
    """The text of a whole message."""
    message = orjson.loads(body)
    return "".join([block["text"] for block in message["content"] if block["type"] == "text"])
