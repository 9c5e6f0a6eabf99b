"""All that reads a request's body, and the bodies that are worst for it: the table of the tests of scaling.

A reader takes a body of one kind and does its work on it; a shape makes a body of that kind of about so many bytes. Add
a reader here for each new function that walks a body, or `test_scaling` tells of it.
"""

import contextlib
import gc
import gzip
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

import brotli  # type: ignore[import-untyped]  # has none
import orjson
from backports import zstd

from apiproxy.catalog import CatalogModel
from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import ProxyError
from apiproxy.core.json_encoding import dump_pieces
from apiproxy.core.json_pieces import PiecesError
from apiproxy.core.json_values import ValueBudget, exact_values, max_value_count
from apiproxy.core.message import UnparsedInput
from apiproxy.core.prices import Prices, PriceTable
from apiproxy.core.pricing import unpriced_fields
from apiproxy.dialects.agent_rules import check_agent_body
from apiproxy.dialects.anthropic.parse import check_body, with_default_max_tokens
from apiproxy.dialects.openai.chat.mixed import as_responses_body, is_responses_body, read_flat_chat
from apiproxy.dialects.openai.chat.parse import read_chat, translate_chat
from apiproxy.dialects.openai.responses.compaction import retained_items
from apiproxy.dialects.openai.responses.content import encode_thinking
from apiproxy.dialects.openai.responses.input_items import Page, list_input, message_items
from apiproxy.dialects.openai.responses.parse import read_responses, translate_responses
from apiproxy.dialects.openai.responses.reply import StoredHistory
from apiproxy.dialects.openai.responses.store import stored_form
from apiproxy.dialects.openai.responses.summary import encode_summary
from apiproxy.dialects.openai.translate.media import file_block
from apiproxy.dialects.openai.translate.messages_body import Target
from apiproxy.dialects.openai.translate.prompt_cache import CacheMode
from apiproxy.dialects.openai.translate.property_keys import KeyRestorer, restored
from apiproxy.engines.agents.history import replay_of
from apiproxy.engines.agents.model_request import CallRefusedError, named_sources
from apiproxy.engines.sdk.overlay import large_turn_lines, overlay_body, overlay_settings, turn_lines
from apiproxy.http.body import parse_json_object
from apiproxy.http.charset import needs_recoding, utf8_body
from apiproxy.http.content_coding import decompressed_pieces
from apiproxy.keys.allow_lists import Policy
from apiproxy.keys.allow_lists import check_body as check_policy
from apiproxy.limits.estimate import estimated_usage, input_tokens, max_usage
from apiproxy.limits.token_counter import estimate_tokens
from apiproxy.sessions.conversation_id import conversation_id
from apiproxy.sessions.kept import decode_within, encode
from apiproxy.sessions.lineage import chain_of
from observability.tracing.body_stats import measure_body, strings_of
from observability.tracing.prompt_masking import Prompt
from observability.tracing.redact import Redactor
from tests.support.server_tool_shapes import CHAT_SEARCHES, SERVER_TOOLS
from tests.support.tool_shapes import CHAT_TOOLS, RESPONSES_TOOLS

FACTOR, MOST = 10, 20
"""Quadratic time would be FACTOR squared."""
_FLOOR_S_PER_BYTE = 5e-9
_FLOOR_S = 0.001
"""What is quicker counts as so quick: there a clock tells nothing, and fresh memory costs more than the work."""

Body = dict[str, Any]
_TARGET = Target(model="claude-sonnet-4-5-20250929", max_output_tokens=1_000)
_NEW_TARGET = replace(_TARGET, model="claude-sonnet-5-5")
"""One that rejects forced tools."""
_CACHED = replace(_TARGET, cache=CacheMode.BLOCK)
_QUOTING = "messages.0: an error that quotes 'Conversation info' and hello hello 12345678 of the prompt " * 10
_LIMITLESS = 10**9
_ATTEMPTS = 9
"""The best of so many readings of the large body counts: sometimes something else has the processor's caches."""
_LARGER = 6
_ALL_IN_PIECES = -1
"""The smaller body too, which one call into C would parse: the two times are to be those of the same code."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Something that walks a body, and the shapes that it takes."""

    read: Callable[[Any], object]
    shapes: Mapping[str, Callable[[int], Any]]


def assert_linear(reader: str, shape: str, *, small_bytes: int) -> None:
    """Fails where a body of `FACTOR` times the size takes more than `MOST` times as long.

    A reading that fails is repeated with larger bodies: while other processes use the processor's caches, only a small
    body fits into them. Time that grows quadratically fails there all the more.
    """
    try:
        _assert_linear(reader, shape, small_bytes=small_bytes)
    except AssertionError:
        _assert_linear(reader, shape, small_bytes=small_bytes * _LARGER)


def _assert_linear(reader: str, shape: str, *, small_bytes: int) -> None:
    row = READERS[reader]
    large, floor_s = row.shapes[shape](small_bytes * FACTOR), max(_FLOOR_S, _FLOOR_S_PER_BYTE * small_bytes)
    large_s = taken_s(row.read, large)
    if large_s <= MOST * floor_s:
        return
    small = row.shapes[shape](small_bytes)
    for _ in range(_ATTEMPTS):
        small_s = min(taken_s(row.read, small), taken_s(row.read, small))  # beside what the large one was read beside
        if large_s <= MOST * max(floor_s, small_s):
            return
        large_s = min(large_s, taken_s(row.read, large))
    raise AssertionError(f"{small_s:.4f} s for {small_bytes} bytes, {large_s:.4f} s for {FACTOR} times as many")


def taken_s(reader: Callable[[Any], object], body: object) -> float:
    """Processor time of one reading, without garbage collections. A refusal is a reading too."""
    gc.disable()
    try:
        begun = time.process_time()
        read_or_refuse(reader, body)
        return time.process_time() - begun
    finally:
        gc.enable()


def read_or_refuse(reader: Callable[[Any], object], body: object) -> None:
    """Reads; what is refused in so many words has been read as well."""
    with contextlib.suppress(ProxyError, CallRefusedError, PiecesError, RecursionError, orjson.JSONDecodeError):
        reader(body)


def _many(size: int, each: Callable[[int], Any]) -> list[Any]:
    """Repeats an item up to the size."""
    return [each(number) for number in range(max(1, size // len(orjson.dumps(each(0)) + b",")))]


def _asked(content: Any, **fields: Any) -> Body:
    return {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": content}], **fields}


def _nested(size: int, depth: int, leaf: Any) -> Any:
    """A list of chains that are so deep, of two levels each."""
    chain: Any = leaf
    for _ in range(depth):
        chain = {"content": [chain]}
    return _many(size, lambda _: chain)


def _text(number: int) -> Body:
    return {"type": "text", "text": f"hello hello {number:08}"}


MESSAGES: dict[str, Callable[[int], Body]] = {
    "empty objects": lambda size: {"model": "m", "messages": _many(size, lambda _: {})},
    "many messages": lambda size: {"model": "m", "messages": _many(size, lambda _: {"role": "user", "content": "a"})},
    "many answers": lambda size: {
        "model": "m",
        "messages": _many(size, lambda n: {"role": "assistant", "content": f"a{n}"}),
    },
    "many blocks": lambda size: _asked(_many(size, _text)),
    "many titles": lambda size: _asked(
        _many(size, lambda _: {"type": "text", "text": "Conversation info" + " " * 16_384})
    ),
    "many half titles": lambda size: _asked("Conversation inf" * (size // 16)),
    "nested blocks": lambda size: _asked(_nested(size, 100, "text")),
    "deep unknown field": lambda size: _asked("a", x=_nested(size, 120, 0)),
    "long text": lambda size: _asked("hello, [world] " * (size // 15)),
    "long escaped text": lambda size: _asked('\\"\n' * (size // 6)),
    "long wide text": lambda size: _asked("é😀" * (size // 6)),
    "white space": lambda size: _asked(" " * size),
    "long key": lambda size: _asked("a", x={"k" * size: 1}),
    "many keys": lambda size: _asked("a", x={f"key {number:08}": 1 for number in range(size // 17)}),
    "many numbers": lambda size: _asked("a", x=_many(size, lambda number: 1.5)),
    "many tools": lambda size: _asked(
        "a", tools=_many(size, lambda n: {"name": f"t{n}", "input_schema": {"type": "object", "properties": {}}})
    ),
    "many tool results": lambda size: _asked(
        _many(size, lambda n: {"type": "tool_result", "tool_use_id": f"t{n}", "content": [_text(n)]})
    ),
    "user_id that is JSON": lambda size: _asked("a", metadata={"user_id": '{"a":[' + "1," * (size // 2) + "1]}"}),
    "user_id that is a word": lambda size: _asked("a", metadata={"user_id": "user_" + "_account_" * (size // 9)}),
    "documents": lambda size: _asked(
        _many(size, lambda n: {"type": "document", "source": {"type": "text", "data": f"password={n} " * 20}})
    ),
    "one document": lambda size: _asked(
        [{"type": "document", "source": {"type": "content", "content": _many(size, _text)}}]
    ),
}


def _raw(shape: Callable[[int], Body]) -> Callable[[int], bytes]:
    return lambda size: orjson.dumps(shape(size))


RAW: dict[str, Callable[[int], bytes]] = {
    **{name: _raw(shape) for name, shape in MESSAGES.items()},
    "quotes": lambda size: b'["' + b'\\"' * (size // 2) + b'"]',
    "backslashes": lambda size: b'["' + b"\\\\" * (size // 2) + b'"]',
    "escapes": lambda size: b'["' + b"\\ud83d\\ude00" * (size // 12) + b'"]',
    "brackets": lambda size: b"[" * size,
    "commas": lambda size: b"[" + b"," * size,
    "no end": lambda size: b'["' + b"a" * size,
    "deep and wide": lambda size: (b"[" * 100 + b"1," * (size // 200)) * 100,
}


def _chat(content: Any, **fields: Any) -> Body:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **fields}


def _schema(schema: Any) -> Body:
    answer = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", **schema}}}
    return _chat("a", response_format=answer)


_STRING = {"a": {"type": "string"}}


def _chain(size: int) -> Body:
    count = size // 36
    return {"properties": _STRING, "$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(count)}}


def _cycle(size: int) -> Body:
    count = size // 36
    names = {f"d{n}": {"$ref": f"#/$defs/d{(n + 1) % count}"} for n in range(count)}
    return {"properties": _STRING, "$defs": names}


def _star(size: int) -> Body:
    count = size // 72
    everywhere = {"anyOf": [{"$ref": f"#/$defs/d{n}"} for n in range(count)]}
    return {
        "properties": _STRING,
        "$defs": {"all": everywhere} | {f"d{n}": {"$ref": "#/$defs/x"} for n in range(count)},
    }


def _doubling(size: int) -> Body:
    """Definitions that each stand for two of the next one."""
    count = size // 90
    names = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(count)}
    last = {f"d{count}": {"type": "object", "properties": _STRING}}
    return {"properties": {"a": {"$ref": "#/$defs/d0", "description": "x"}}, "$defs": names | last}


def _copied(size: int) -> Body:
    """A large definition that is used many times."""
    many = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(size // 60)}}
    uses = {f"u{n}": {"allOf": [{"$ref": "#/$defs/d"}, {"minProperties": n}]} for n in range(size // 120)}
    return {"properties": uses, "$defs": {"d": many}}


SCHEMAS: dict[str, Callable[[int], Body]] = {
    "doubling": _doubling,
    "copied": _copied,
    "all of many": lambda size: {
        "properties": {"a": {"allOf": _many(size, lambda n: {"properties": {f"p{n}": {"type": "string"}}})}}
    },
    "all of all of": lambda size: {"properties": {"a": {"allOf": [{"allOf": _many(size, lambda n: {"minimum": n})}]}}},
    "described references": lambda size: {
        "properties": {f"p{n}": {"$ref": "#/$defs/d", "description": "x", "minLength": 1} for n in range(size // 80)},
        "$defs": {"d": {"type": "string"}},
    },
    "patterns": lambda size: {
        "properties": {f"p{n}": {"type": "string", "pattern": "^(a{3}){2}$"} for n in range(size // 60)}
    },
    "long pattern": lambda size: {"properties": {"a": {"type": "string", "pattern": "(a{2})" * (size // 6)}}},
    "long description": lambda size: {
        "properties": {"a": {"type": "string", "description": "x" * size, "minLength": 1}}
    },
    "chain": _chain,
    "cycle": _cycle,
    "star": _star,
    "wide enum": lambda size: {"properties": {"a": {"enum": _many(size, lambda n: f"value {n}")}}},
    "required": lambda size: {
        "properties": {f"p{n}": {"type": "string"} for n in range(size // 40)},
        "required": [f"q{n}" for n in range(size // 40)],
    },
    "notes": lambda size: {"properties": {"a": {"type": "string", "not": {"enum": _many(size, lambda n: n)}}}},
    "references to text": lambda size: {"properties": {"a": {"$ref": "#/$defs/" + "a" * size}}},
    "nested objects": lambda size: {
        "properties": {
            f"p{n}": {"type": "object", "properties": _STRING, "required": ["a"], "minProperties": 1}
            for n in range(size // 90)
        }
    },
}


def _calls(size: int) -> list[Body]:
    count = size // 180
    call = {"name": "f", "arguments": '{"a":1}'}
    calls = [{"id": f"call {n}", "type": "function", "function": call} for n in range(count)]
    results = [{"role": "tool", "tool_call_id": f"call {n}", "content": "r"} for n in range(count)]
    return [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": calls}, *results]


def _tool(number: int, **fields: Any) -> Body:
    return {"type": "function", "function": {"name": f"t{number}", "parameters": {"type": "object"}, **fields}}


def _alternative(number: int) -> Body:
    return {"properties": {"k": {"const": number}, f"p{number}": {"type": "string"}}, "required": ["k"]}


def _asked_as_schema(make: Callable[[int], Body]) -> Callable[[int], Body]:
    return lambda size: _schema(make(size))


CHAT: dict[str, Callable[[int], Body]] = {
    **{f"schema: {name}": _asked_as_schema(make) for name, make in SCHEMAS.items()},
    "empty objects": MESSAGES["empty objects"],
    "many messages": MESSAGES["many messages"],
    "many answers": MESSAGES["many answers"],
    "many blocks": MESSAGES["many blocks"],
    "long text": MESSAGES["long text"],
    "white space": MESSAGES["white space"],
    "many systems": lambda size: {
        "model": "m",
        "messages": _many(size, lambda n: {"role": "system" if n else "user", "content": "be brief"}),
    },
    "many calls": lambda size: {"model": "m", "messages": _calls(size)},
    "long arguments": lambda size: {
        "model": "m",
        "messages": [
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "function": {"name": "é" * 200, "arguments": "[" + "{}," * (size // 3)}}],
            },
        ],
    },
    "long names": lambda size: {
        "model": "m",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "function_call": {"name": "é" * (size // 2), "arguments": ""}},
        ],
    },
    "many tools": lambda size: _chat("a", tools=_many(size, _tool)),
    "many strict tools": lambda size: _chat("a", tools=_many(size, lambda n: _tool(n, strict=True))),
    "tool of alternatives": lambda size: _chat("a", tools=[_tool(0, parameters={"anyOf": _many(size, _alternative)})]),
    "tool of one large alternative": lambda size: _chat(
        "a", tools=[_tool(0, parameters={**_copied(size // 2), "anyOf": [{"$ref": "#/$defs/d"}] * (size // 50)})]
    ),
    "answer of alternatives": lambda size: {
        **_chat("a", response_format={"type": "json_object", "schema": {"anyOf": _many(size, _alternative)}}),
        "model": "claude-3-5-haiku-latest",
    },
    "odd keys": lambda size: {
        "model": "m",
        "messages": _calls(size // 2),
        "tools": [_tool(0, name="f", parameters={"properties": {f"$ {n}": {} for n in range(size // 20)}})],
    },
    "repeated results": lambda size: {"model": "m", "messages": [*_calls(size // 2), *_calls(size // 2)[2:]]},
    "unknown results": lambda size: {"model": "m", "messages": [{"role": "user", "content": "a"}, *_calls(size)[2:]]},
    "missing results": lambda size: {"model": "m", "messages": _calls(size)[:2]},
    "one id": lambda size: {
        "model": "m",
        "messages": [
            {"role": "assistant", "tool_calls": [{"id": "", "function": {"name": "f"}} for _ in range(size // 40)]},
            *[{"role": "tool", "tool_call_id": "", "content": ""} for _ in range(size // 40)],
        ],
    },
    "blank turns": lambda size: {"model": "m", "messages": _many(size, lambda _: {"role": "user", "content": ""})},
    "cut arguments": lambda size: {
        "model": "m",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a": "' + '\\"' * (size // 4)}},
        ],
    },
    "many modalities": lambda size: _chat("a", modalities=["text"] * (size // 8), audio=None),
    "image data": lambda size: _chat(
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "/9j/" * (size // 4)}}]
    ),
    "many allowed tools": lambda size: _chat(
        "a",
        tools=[_tool(0)],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": _many(size, lambda _: {"name": "t0"})},
        },
    ),
    "many functions": lambda size: _chat("a", functions=_many(size, lambda n: {"name": f"f{n}"})),
    "many marks": lambda size: _chat(_many(size, lambda n: {**_text(n), "cache_control": {"type": "ephemeral"}})),
    "many images": lambda size: _chat(
        _many(size, lambda n: {"type": "image_url", "image_url": {"url": f"https://a/{n}", "detail": "high"}})
    ),
    "many unknown fields": lambda size: _chat("a", **{f"field{n}": 1 for n in range(size // 14)}),
    "many stops": lambda size: _chat("a", stop=_many(size, lambda n: f"stop {n}")),
    "a user like an address": lambda size: _chat("a", user="a@" + "." * size + "@"),
    "thinking blocks": lambda size: {
        "model": "m",
        "messages": [
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "thinking_blocks": _many(size, lambda n: {"type": "thinking", "thinking": f"t{n}", "signature": "s"}),
            },
        ],
    },
}


def _items(items: list[Body], **fields: Any) -> Body:
    return {"model": "m", "input": items, **fields}


def _said(number: int) -> Body:
    return {"role": "user", "content": [{"type": "input_text", "text": f"hello {number}"}]}


_THOUGHT = encode_thinking({"type": "thinking", "thinking": "hm", "signature": "s"})

RESPONSES: dict[str, Callable[[int], Body]] = {
    "empty objects": lambda size: _items(_many(size, lambda _: {})),
    "many items": lambda size: _items(_many(size, _said)),
    "many parts": lambda size: _items(
        [{"role": "user", "content": _many(size, lambda n: {"type": "input_text", "text": f"t{n}"})}]
    ),
    "reasoning": lambda size: _items(
        [_said(0), *_many(size, lambda _: {"type": "reasoning", "encrypted_content": _THOUGHT})]
    ),
    "large reasoning": lambda size: _items(
        [_said(0), {"type": "reasoning", "encrypted_content": encode_thinking({"x": _many(size, lambda _: {})})}]
    ),
    "instructions": lambda size: _items([_said(0)], instructions="be brief " * (size // 9)),
    "many tools": lambda size: _items(
        [_said(0)], tools=_many(size, lambda n: {"type": "function", "name": f"t{n}", "strict": True})
    ),
    "strict tool": lambda size: _items(
        [_said(0)], tools=[{"type": "function", "name": "f", "strict": True, "parameters": _chain(size)}]
    ),
    "schema": lambda size: _items(
        [_said(0)], text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "object", **_star(size)}}}
    ),
    "calls": lambda size: _items(
        [
            item
            for n in range(size // 120)
            for item in (
                {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": f"c{n}", "output": "r"},
            )
        ]
    ),
}

_FLAT_PATCH = {"type": "custom", "name": "patch"}


def _mixed(size: int, *, shape: str) -> Body:
    count = size // 250
    call = {"id": "c", "type": "function", "function": {"name": "patch", "arguments": "x"}}
    entries = [
        entry
        for n in range(count)
        for entry in (
            {"role": "user", "content": [{"type": "text", "text": f"hello {n}"}]},
            {"role": "assistant", "content": None, "tool_calls": [{**call, "id": f"c{n}"}]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": "r"},
        )
    ]
    return {"model": "m", shape: entries, "tools": [_FLAT_PATCH]}


MIXED: dict[str, Callable[[int], Body]] = {
    "items": lambda size: _mixed(size, shape="input"),
    "messages": lambda size: _mixed(size, shape="messages"),
    "items among messages": lambda size: {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}, *_many(size, lambda _: {"type": "reasoning"})],
    },
    "images and files": lambda size: _items(
        [
            {
                "role": "user",
                "content": [
                    *_many(size // 2, lambda n: {"type": "image_url", "image_url": {"url": f"https://a/{n}"}}),
                    *_many(size // 2, lambda n: {"type": "file", "file": {"file_id": f"file_{n}"}}),
                ],
            }
        ],
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
    ),
    "flat tools": lambda size: _chat("a", tools=_many(size, lambda n: {**_FLAT_PATCH, "name": f"t{n}"})),
    "nested tools": lambda size: _items([_said(0)], tools=_many(size, _tool)),
    "allowed tools": lambda size: _items(
        [_said(0)],
        tools=[_tool(0)],
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": _many(size, _tool)}},
    ),
}


def _summarized(size: int) -> Body:
    return _items([*_many(size, _said), {"type": "compaction_trigger"}])


SUMMARIES: dict[str, Callable[[int], Body]] = {
    "many items": _summarized,
    "many summaries": lambda size: _items(
        _many(size, lambda _: {"type": "compaction", "encrypted_content": encode_summary("hello")})
    ),
    "large summary": lambda size: _items(
        [{"type": "compaction", "encrypted_content": encode_summary("é" * (size // 3))}, _said(1)]
    ),
    "blank summary": lambda size: _items(
        [{"type": "compaction", "encrypted_content": encode_summary(" " * size)}, _said(1)]
    ),
}


def _stored(*blocks: Body) -> Callable[[int], Body]:
    return lambda size: {
        "messages": [
            {"role": "user", "content": _many(size // 2, lambda n: blocks[n % len(blocks)])},
            {"role": "assistant", "content": _many(size // 2, lambda n: blocks[n % len(blocks)])},
        ]
    }


STORED: dict[str, Callable[[int], Body]] = {
    "many messages": MESSAGES["many messages"],
    "many blocks": MESSAGES["many blocks"],
    "many tool results": MESSAGES["many tool results"],
    "calls": _stored({"type": "tool_use", "id": "c", "name": "f", "input": {}}, {"type": "thinking", "thinking": "hm"}),
    "media": _stored(
        {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
        {"type": "document", "title": "a", "source": {"type": "base64", "media_type": "a/b", "data": "QUFB"}},
    ),
}


FILES: dict[str, Callable[[int], str]] = {
    "spaces": lambda size: "QQ " * (size // 3),
    "lines": lambda size: "data:text/plain;base64," + "QUFB\n" * (size // 5),
    "escapes": lambda size: "data:text/plain;base64," + "%51%55%46%42" * (size // 12),
    "percents": lambda size: "data:text/plain;base64," + "%" * size,
    "text": lambda size: "data:text/plain;base64," + "QUFB" * (size // 4),
    "padding": lambda size: "data:text/plain;base64," + "=" * size,
    "blank text": lambda size: "data:text/plain;base64," + "ICAg" * (size // 4),
}


ARGUMENTS: dict[str, Callable[[int], str]] = {
    "many keys": lambda size: "{" + ",".join(f'"k{n}":[1,{{"$":"x"}}]' for n in range(size // 22)) + "}",
    "cut in a text": lambda size: '{"$": "' + '\\"' * (size // 2),
    "cut in escapes": lambda size: '{"$": "' + "\\" * size,
    "deep": lambda size: '{"$":' * (size // 5),
    "quotes": lambda size: '{"$"' + '""' * (size // 2),
}


def _restored(text: str) -> object:
    """A call streamed and whole, with the client's keys."""
    renames = {"f": {"_": "$"}}
    call = {"type": "tool_use", "name": "f", "id": "t", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": text}
    events: list[Body] = [
        {"type": "content_block_start", "index": 0, "content_block": call},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
    ]
    KeyRestorer(renames).feed(events)
    return restored({"content": [{**call, "input": UnparsedInput({"_": 1}, text)}]}, renames)


def _chat_turn(body: Body) -> object:
    return translate_chat(read_chat(body), target=_TARGET, strict=False)


def _responses_turn(body: Body, target: Target = _TARGET) -> object:
    stored = StoredHistory(response_id="resp_1", history=[{"role": "assistant", "content": "hello"}])
    translation = translate_responses(read_responses(body), target=target, strict=False, stored=stored)
    return stored_form(translation.reply, created=1)


def _mixed_turn(body: Body) -> object:
    if not is_responses_body(body):
        return translate_chat(read_flat_chat(body), target=_CACHED, strict=False)
    request = read_responses(as_responses_body(body))
    return translate_responses(request, target=_CACHED, strict=False)


def _summary(body: Body) -> object:
    translation = translate_responses(read_responses(body), target=_TARGET, strict=False)
    return retained_items(translation.body["messages"], "req_1")


def _input_items(body: Body) -> object:
    last = Page(100, ascending=True, after="msg_none")
    with contextlib.suppress(ProxyError):
        list_input(body["messages"], "resp_1", last)
    return list_input(body["messages"], "resp_1", Page()), message_items(body["messages"], "resp_1", role="user")


def _overlay(body: Body) -> Body:
    return overlay_body(body, model="m", betas=())


POLICY: dict[str, Callable[[int], Body]] = {
    "many server tools": lambda size: _asked("a", tools=_many(size, lambda n: {"type": f"web_search_{n}"})),
    "many models of tools": lambda size: _asked("a", tools=_many(size, lambda n: {"type": "advisor_1", "model": "m"})),
    "many tool blocks": lambda size: _asked(
        _many(size, lambda n: {"tool": {"definition": {"type": "custom", "name": f"t{n}", "model": "m"}}})
    ),
    "many tool changes": lambda size: _asked(
        [{"tool_changes": _many(size, lambda n: {"tool": {"definition": {"model": "m"}}})}]
    ),
    "many fallbacks": lambda size: _asked("a", fallbacks=_many(size, lambda n: {"model": "m", "max_tokens": n})),
    "many servers": lambda size: _asked("a", mcp_servers=_many(size, lambda n: {"url": f"https://h{n}.test/"})),
    "few servers": lambda size: _asked("a", mcp_servers=[{"url": "https://h.test/"}, {"url": "a." * (size // 2)}]),
    "long type": lambda size: _asked("a", tools=[{"type": "*" * size}]),
    "many marks": lambda size: _asked(
        _many(size, lambda n: {**_text(n), "cache_control": {"type": "ephemeral", "ttl": "5m"}}),
        tools=[{"cache_control": {"type": "ephemeral", "ttl": "5m"}}],
    ),
    "many edits": lambda size: _asked(
        "a", context_management={"edits": _many(size, lambda n: {"type": f"clear_{n}"})}, speed="fast"
    ),
    "many messages": MESSAGES["many messages"],
    "many blocks": MESSAGES["many blocks"],
    "nested blocks": MESSAGES["nested blocks"],
}

_POLICY = Policy(server_tools=(("web_*_search_*", "web_*"),), mcp_hosts=(("*.test", "h.test"),), models=True)
_PRICES = Prices(
    input=Decimal(3), output=Decimal(15), cache_write=Decimal(4), cache_read=Decimal(1), cache_write_1h=Decimal(6)
)
_TABLE = PriceTable(of=lambda _: _PRICES, all=lambda: [_PRICES])
_PRICED = CatalogModel(
    id="m",
    max_output_tokens=1_000,
    prices=_PRICES,
    display_name="",
    family="",
    lifecycle="",
    created_at=None,
    retires_at=None,
    context_window=200_000,
)

PACKED: dict[str, Callable[[int], tuple[bytes, str]]] = {
    "gzip": lambda size: (gzip.compress(random.Random(1).randbytes(size // 2) + b"x" * (size // 2)), "gzip"),
    "zlib": lambda size: (zlib.compress(random.Random(1).randbytes(size)), "deflate"),
    "deflate": lambda size: (zlib.compress(b"hello [world] " * (size // 14))[2:-4], "deflate"),
    "br": lambda size: (brotli.compress(random.Random(1).randbytes(size), quality=1), "br"),
    "zstd": lambda size: (zstd.compress(random.Random(1).randbytes(size), 1), "zstd"),
    "blanks": lambda size: (gzip.compress(b" " * 80 * size), "gzip"),
}
RECODED: dict[str, Callable[[int], tuple[bytes, str]]] = {
    "utf-16": lambda size: (("{é東" * (size // 6)).encode("utf-16"), ""),
    "latin-1": lambda size: (b"{\xe9" * (size // 2), "application/json; charset=iso-8859-1"),
    "mark": lambda size: (b"\xef\xbb\xbf" + b"{}" * (size // 2), ""),
}


_AGENT = AgentSpec(slug="a", version=1, display_name="A", model="m", allow_client_system=True)


def _unpacked(packed: tuple[bytes, str]) -> int:
    return sum(map(len, decompressed_pieces(*packed, limit=_LIMITLESS)))


READERS: dict[str, Reader] = {
    "unpack": Reader(_unpacked, PACKED),
    "recode": Reader(lambda given: needs_recoding(*given) and utf8_body(*given), RECODED),
    "parse": Reader(lambda raw: parse_json_object(raw, ValueBudget(_LIMITLESS, at_once=_ALL_IN_PIECES)), RAW),
    "count values": Reader(lambda raw: (max_value_count(raw), exact_values(raw)), RAW),
    "check": Reader(
        lambda body: with_default_max_tokens(body, max_output_tokens=check_body(body).max_tokens or 1), MESSAGES
    ),
    "conversation id": Reader(lambda body: conversation_id({}, body), MESSAGES),
    "count_tokens": Reader(estimate_tokens, MESSAGES),
    "estimate": Reader(input_tokens, MESSAGES),
    "facts": Reader(measure_body, MESSAGES),
    "prompt": Reader(lambda body: Prompt(strings_of(body)).remove_from(_QUOTING), MESSAGES),
    "lineage": Reader(lambda body: chain_of(body["messages"], at_once=_ALL_IN_PIECES), MESSAGES),
    "kept messages": Reader(lambda body: decode_within(encode(body["messages"]), body["messages"], 10**6), MESSAGES),
    "overlay": Reader(lambda body: turn_lines(_overlay(body), headers="", control_id="c", message_uuid="u"), MESSAGES),
    "large overlay": Reader(
        lambda body: large_turn_lines(_overlay(body), headers="", control_id="c", message_uuid="u"), MESSAGES
    ),
    "overlay as settings": Reader(lambda body: overlay_settings(body, headers=""), MESSAGES),
    "pieces": Reader(dump_pieces, MESSAGES),
    "policy": Reader(lambda body: check_policy(_POLICY, body), POLICY),
    "most used": Reader(lambda body: max_usage(body, _PRICED, _TABLE), POLICY),
    "untold usage": Reader(lambda body: estimated_usage(body, _PRICED), POLICY),
    "unpriced fields": Reader(lambda body: unpriced_fields(body, _PRICES, _TABLE), POLICY),
    "stored body": Reader(Redactor(["known secret"]).body, MESSAGES),
    "redacted value": Reader(Redactor(["known secret"]).value, MESSAGES),
    "chat": Reader(_chat_turn, CHAT | CHAT_TOOLS | CHAT_SEARCHES),
    "responses": Reader(_responses_turn, RESPONSES | RESPONSES_TOOLS | SERVER_TOOLS),
    "responses of a new model": Reader(partial(_responses_turn, target=_NEW_TARGET), RESPONSES_TOOLS | SERVER_TOOLS),
    "mixed chat": Reader(_mixed_turn, MIXED),
    "summaries": Reader(_summary, SUMMARIES),
    "history of an agent": Reader(lambda body: replay_of(body["messages"], _AGENT), MESSAGES),
    "sources for an agent": Reader(named_sources, MESSAGES),
    "rules of an agent": Reader(lambda body: check_agent_body(_AGENT, body), MESSAGES),
    "input items": Reader(_input_items, STORED),
    "restored keys": Reader(_restored, ARGUMENTS),
    "files": Reader(lambda data: file_block(data, "a.txt", "file"), FILES),
}


def cases() -> Iterator[tuple[str, str]]:
    """The names of each reader and shape that go together."""
    return ((reader, shape) for reader, row in READERS.items() for shape in row.shapes)
