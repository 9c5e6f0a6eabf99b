"""Messages as an upstream could answer them, and the stream in which it would send one: the inverse of the fold."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from apiproxy.core.events import StreamEvent

JsonObject = dict[str, Any]

_COUNTED_AT_THE_END = "output_tokens"


def stream_of(message: JsonObject, *, piece: int = 4) -> list[StreamEvent]:
    """The events of a message, its texts in deltas of `piece` characters."""
    events: list[StreamEvent] = [{"type": "message_start", "message": _opening(message)}]
    for index, block in enumerate(message["content"]):
        announced, deltas = _in_pieces(block, piece)
        events.append({"type": "content_block_start", "index": index, "content_block": announced})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence")}
    events.append({"type": "message_delta", "delta": ending, "usage": message["usage"]})
    events.append({"type": "message_stop"})
    return events


def _opening(message: JsonObject) -> JsonObject:
    empty: JsonObject = {"content": [], "stop_reason": None, "stop_sequence": None}
    return {**message, **empty, "usage": {**message["usage"], _COUNTED_AT_THE_END: 1}}


def _in_pieces(block: JsonObject, piece: int) -> tuple[JsonObject, list[JsonObject]]:
    match block["type"]:
        case "text":
            citations = block.get("citations")
            deltas: list[JsonObject] = [{"type": "text_delta", "text": part} for part in _cut(block["text"], piece)]
            deltas += [{"type": "citations_delta", "citation": citation} for citation in citations or ()]
            return {**block, "text": "", **({} if citations is None else {"citations": []})}, deltas
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": part} for part in _cut(block["thinking"], piece)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use":
            written = json.dumps(block["input"]) if block["input"] else ""
            parts = ["", *_cut(written, piece)]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return dict(block), []


def _cut(text: str, piece: int) -> Iterator[str]:
    return (text[at : at + piece] for at in range(0, len(text), piece))


def json_values() -> SearchStrategy[Any]:
    """JSON as a client or a model may write it."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
    )


def blocks() -> SearchStrategy[JsonObject]:
    """A content block of an answer."""
    citation = st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": st.text()})
    tool_input = st.dictionaries(st.text(), json_values(), max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}),
        st.fixed_dictionaries(
            {"type": st.just("text"), "text": st.text(), "citations": st.lists(citation, min_size=1, max_size=3)}
        ),
        st.fixed_dictionaries({"type": st.just("thinking"), "thinking": st.text(), "signature": st.text()}),
        st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": st.text()}),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["tool_use", "server_tool_use"]),
                "id": st.text(),
                "name": st.text(),
                "input": tool_input,
            }
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["web_search_tool_result", "container_upload"]), "content": json_values()}
        ),
    )


def messages() -> SearchStrategy[JsonObject]:
    """A complete message of the assistant."""
    count = st.integers(min_value=0, max_value=10**6)
    usage = st.fixed_dictionaries(
        {"input_tokens": count, "output_tokens": count}, optional={"cache_read_input_tokens": count}
    )
    return st.fixed_dictionaries(
        {
            "id": st.text(min_size=1),
            "type": st.just("message"),
            "role": st.just("assistant"),
            "model": st.text(min_size=1),
            "content": st.lists(blocks(), max_size=4),
            "stop_reason": st.sampled_from(["end_turn", "tool_use", "stop_sequence", "refusal", "pause_turn"]),
            "stop_sequence": st.none() | st.text(),
            "usage": usage,
        }
    )


def batches(events: list[StreamEvent]) -> SearchStrategy[list[list[StreamEvent]]]:
    """The same events, split anywhere."""

    def split(cuts: set[int]) -> list[list[StreamEvent]]:
        edges = [0, *sorted(cuts), len(events)]
        return [events[start:end] for start, end in itertools.pairwise(edges)]

    return st.sets(st.integers(min_value=0, max_value=len(events))).map(split)
