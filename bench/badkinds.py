"""Fifty kinds of bad requests: bodies that are refused, that the upstream refuses or fails at, and that are costly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MODEL = "claude-sonnet-4-5"
_FORMAT = {"type": "json_schema", "schema": {"type": "object"}}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of bad request."""

    name: str
    body: bytes
    path: str = "/v1/messages"
    headers: Mapping[str, str] = field(default_factory=dict)


def _message(name: str, prompt: Any = "[[n=1]]", **fields: Any) -> Kind:
    body = {"model": _MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": prompt}], **fields}
    return Kind(name, json.dumps(body).encode())


def _chat(name: str, **fields: Any) -> Kind:
    body = {"model": _MODEL, "messages": [{"role": "user", "content": "[[n=1]]"}], **fields}
    return Kind(name, json.dumps(body).encode(), path="/v1/chat/completions")


def _chain(length: int) -> dict[str, Any]:
    """A named schema whose definitions refer to each other in a row."""
    definitions: dict[str, Any] = {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(length)}
    definitions[f"d{length}"] = {}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions}
    return {"name": "chain", "schema": schema}


def _upstream() -> list[Kind]:
    statuses = (400, 401, 402, 403, 404, 413, 429, 500, 502, 503, 504, 529)
    faults = ("drop", "cut=1", "cut=2", "miderror=1", "miderror=2", "garbage=1", "page", "whole", "status=400]] [[html")
    return [
        *(_message(f"upstream-{status}", f"[[status={status}]]") for status in statuses),
        *(_message(f"upstream-{fault[:10]}", f"[[n=4]] [[{fault}]]", stream=True) for fault in faults),
        _message("upstream-400-many-tokens", "[[status=400]]", max_tokens=64_000),
        _message("upstream-500-many-tokens", "[[status=500]]", max_tokens=64_000),
    ]


def _refused() -> list[Kind]:
    return [
        _message("both-formats", output_format=_FORMAT, output_config={"format": _FORMAT}),
        _message("tools-object", tools={"a": 1}),
        _message("tools-true", tools=True),
        _message("no-messages", messages=[]),
        _message("message-null", messages=[None]),
        _message("messages-object", messages={"a": 1}),
        _message("empty-messages", messages=[{}] * 1_000),
        _message("no-model", model=None),
        _message("long-model", model="x" * 300),
        _message("max-tokens-text", max_tokens="many"),
        _message("max-tokens-u64", max_tokens=2**64 - 1),
        _message("content-number", 7),
        _message("betas", betas=["x"]),
        _message("stream-text", stream="yes"),
        _message("deep", x=json.loads("[" * 400 + "]" * 400)),
        Kind("not-json", b"{not json"),
        Kind("empty", b""),
        Kind("array", b"[]"),
        Kind("bad-utf8", b'{"model": "\xff"}'),
        Kind("too-deep", b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
        Kind("no-such-path", b"{}", path="/v1/nothing"),
        Kind("wrong-key", b"{}", headers={"x-api-key": "sk-proxy-wrong"}),
        Kind("count-nothing", b"{}", path="/v1/messages/count_tokens"),
        _chat("chat-no-messages", messages=[]),
        _chat("chat-schema-chain", response_format={"type": "json_schema", "json_schema": _chain(200)}),
        _chat("chat-temperature", temperature="hot"),
        Kind("responses-input", json.dumps({"model": _MODEL, "input": 7}).encode(), path="/v1/responses"),
    ]


KINDS: tuple[Kind, ...] = (*_upstream(), *_refused())
