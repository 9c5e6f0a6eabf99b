"""Streams of an upstream that has lost its way: good ones with events spoiled, swapped and cut, or bytes in between."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.exchange import Request
from tests.fuzz.inputs import MODEL, encoded, spoiled

_USAGE = {"input_tokens": 9, "output_tokens": 1}
_START: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [], "stop_reason": None,
    "stop_sequence": None, "usage": _USAGE,
}  # fmt: skip
_CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
GOOD: list[dict[str, Any]] = [
    {"type": "message_start", "message": _START},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "so"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}, {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": _CALL},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": _USAGE},
    {"type": "message_stop"},
]  # fmt: skip
_DIALECTS = [b"/v1/messages", b"/v1/chat/completions", b"/v1/responses"]


@st.composite
def upstreams(draw: st.DrawFn) -> Request:
    """A good request whose answer's stream is anything but."""
    events = draw(spoiled(GOOD, most=2))
    if draw(st.integers(0, 7)) == 0 and events:
        events = draw(st.permutations(events))[: draw(st.integers(1, len(events)))]
    data = b"".join(map(_framed, events))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        junk = draw(
            st.one_of(
                st.sampled_from([b"\n\n", b"data: ", b"event: x\n", b"\r", b"\x00", b": c\n"]), st.binary(max_size=5)
            )
        )
        data = data[:at] + junk + data[at + draw(st.integers(0, 9)) :]
    return request_for(data, draw(st.sampled_from(_DIALECTS)), stream=draw(st.booleans()))


def request_for(data: bytes, path: bytes, *, stream: bool) -> Request:
    """Request to which the stand-in answers with exactly these bytes."""
    prompt = f"[[raw={base64.b64encode(data).decode()}]]"
    body: dict[str, Any] = {"model": MODEL, "stream": stream}
    if path == b"/v1/responses":
        body |= {"input": prompt}
    else:
        body |= {"max_tokens": 64, "messages": [{"role": "user", "content": prompt}]}
    return Request(b"POST", path, body=encoded(body))


def _framed(event: Any) -> bytes:
    kind = event.get("type") if isinstance(event, dict) else None
    return f"event: {kind if isinstance(kind, str) else 'x'}\ndata: {json.dumps(event)}\n\n".encode("utf-8", "replace")
