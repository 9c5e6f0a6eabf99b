"""Bodies that were made to stop the gateway, each with the answer that it has to give while it goes on serving others.

From the attacks on the gateway that are fixed; `python -m bench.attack` measures each. Add a case by adding a line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

MODEL = "claude-sonnet-4-5"
_MEGABYTE = 1024 * 1024
_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_CHAT, _RESPONSES = "/v1/chat/completions", "/v1/responses"


@dataclass(frozen=True, slots=True)
class Attack:
    """A request: where it goes, what makes its body, and the status that is expected."""

    path: str
    body: Callable[[], bytes]
    status: int
    limited: bool = False
    """True if a 429 is right as well, when it is sent again and again."""


def _asked(content: Any, **fields: Any) -> bytes:
    return orjson.dumps({"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": content}], **fields})


def _objects(count: int, *, field: str) -> bytes:
    head = _asked("hi")[:-1] if field != "messages" else b'{"model":"sonnet","max_tokens":1'
    return head + f',"{field}":['.encode() + b",".join([b"{}"] * count) + b"]}"


def _chain(count: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "$defs": {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(count)},
    }


def _chat(schema: dict[str, Any]) -> bytes:
    answer = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "response_format": answer})


def _required() -> bytes:
    properties = {f"p{number}": {"type": "string"} for number in range(25_000)}
    return _chat({"type": "object", "properties": properties, "required": [f"q{number}" for number in range(25_000)]})


def _strict_tool() -> bytes:
    schema = {**_chain(5_000), "additionalProperties": False, "required": ["a"]}
    tool = {"type": "function", "name": "f", "strict": True, "parameters": schema}
    return orjson.dumps({"model": MODEL, "input": "hi", "tools": [tool]})


def _titles() -> bytes:
    return _asked([{"type": "text", "text": "Conversation info" + " " * 16_384}] * 40)


def _arguments() -> bytes:
    """Values in a JSON text within the JSON: a count of the body's own does not see them."""
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":[' + "{}," * 9_000_000 + "{}]}"},
    }
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]
    return orjson.dumps({"model": MODEL, "messages": messages})


def _user() -> bytes:
    return orjson.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "user": "a@" + "." * _MEGABYTE + "@"}
    )


def _wide_text(megabytes: int) -> bytes:
    return _asked("a" * (megabytes * _MEGABYTE) + "😀")


def _many_messages() -> bytes:
    message = b'{"role":"user","content":"a"}'
    return b'{"model":"%b","max_tokens":8,"messages":[' % MODEL.encode() + b",".join([message] * 99_000) + b"]}"


ATTACKS: dict[str, Attack] = {
    "freeze-conversation-info": Attack(_MESSAGES, _titles, 200),
    "freeze-schema-defs-chain": Attack(_CHAT, lambda: _chat(_chain(8_000)), 200),
    "freeze-schema-required": Attack(_CHAT, _required, 200),
    "freeze-strict-tool-defs": Attack(_RESPONSES, _strict_tool, 200),
    "freeze-user-address": Attack(_CHAT, _user, 200),
    "freeze-line-breaks-31mb": Attack(_MESSAGES, lambda: _asked("\n" * (15 * _MEGABYTE)), 200),
    "freeze-wide-text-10mb": Attack(_MESSAGES, lambda: _wide_text(10), 200),
    "freeze-wide-text-31mb": Attack(_MESSAGES, lambda: _wide_text(31), 200),
    "freeze-many-messages": Attack(_MESSAGES, _many_messages, 200),
    "freeze-many-messages-chat": Attack(_CHAT, _many_messages, 200),
    "oom-empty-messages": Attack(_MESSAGES, lambda: _objects(700_000, field="messages"), 400),
    "oom-empty-messages-8mb": Attack(_MESSAGES, lambda: _objects(2_700_000, field="messages"), 400),
    "oom-empty-messages-count-tokens": Attack(_COUNT, lambda: _objects(300_000, field="messages"), 400, limited=True),
    "oom-empty-messages-few": Attack(_MESSAGES, lambda: _objects(140_000, field="messages"), 400),
    "oom-empty-messages-chat": Attack(_CHAT, lambda: _objects(140_000, field="messages"), 400),
    "oom-empty-messages-input": Attack(_RESPONSES, lambda: _objects(140_000, field="input"), 400),
    "memory-ten-million-objects": Attack(_MESSAGES, lambda: _objects(10_000_000, field="x"), 400),
    "memory-objects-in-arguments": Attack(_CHAT, _arguments, 400),
}
