"""Property keys of tools that the API rejects, replaced in the request and restored in the answer.

The API takes `^[a-zA-Z0-9_.-]{1,64}$` at the top level of `input_schema`, and one key outside of that (`$filter`,
`user[name]`) rejects the whole request. Source: the API's own error, "Property keys should match pattern …".
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apiproxy.core.events import StreamEvent
from apiproxy.core.message import UnparsedInput

Renames = Mapping[str, Mapping[str, str]]
"""By tool: the client's key of each key sent."""

_MAX_CHARS = 64
_VALID = re.compile(rf"[a-zA-Z0-9_.-]{{1,{_MAX_CHARS}}}")
_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_.-]")
_DIGEST_CHARS = 8
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\],]', re.DOTALL)


def rename_keys(tools: Sequence[dict[str, Any]]) -> Renames:
    """Replace invalid property keys in the tools' schemas."""
    renames: dict[str, Mapping[str, str]] = {}
    for tool in tools:
        schema = tool.get("input_schema")
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        if not isinstance(schema, Mapping) or not isinstance(properties, Mapping):
            continue
        sent = _replacements(properties)
        if sent:
            changed: dict[str, Any] = {"properties": {sent.get(key, key): value for key, value in properties.items()}}
            if isinstance(required := schema.get("required"), list):
                changed["required"] = [sent.get(key, key) if isinstance(key, str) else key for key in required]
            tool["input_schema"] = {**schema, **changed}
            renames[tool["name"]] = {new: key for key, new in sent.items()}
    return renames


def rename_in_history(messages: Sequence[Mapping[str, Any]], renames: Renames) -> None:
    """Replace the same keys in earlier calls of the tools."""
    sent = {tool: {key: new for new, key in names.items()} for tool, names in renames.items()}
    for block in _calls_in(messages):
        if (names := sent.get(block["name"])) is not None:
            block["input"] = _renamed(block["input"], names)


def restored(message: Mapping[str, Any], renames: Renames) -> Mapping[str, Any]:
    """The upstream's message with the client's keys in its calls."""
    if not renames:
        return message
    return {**message, "content": [_restored_block(block, renames) for block in message["content"]]}


class KeyRestorer:
    """Puts the client's keys into the calls of a stream; the arguments of such a call arrive at its end."""

    def __init__(self, renames: Renames) -> None:
        self._renames = renames
        self._held: dict[int, tuple[Mapping[str, str], list[str]]] = {}

    def feed(self, events: Sequence[StreamEvent]) -> Sequence[StreamEvent]:
        """The events to encode in place of these."""
        return list(self._restored(events)) if self._renames else events

    def _restored(self, events: Sequence[StreamEvent]) -> Iterator[StreamEvent]:
        for event in events:
            kind, index = event["type"], event.get("index")
            if kind == "content_block_start" and (names := self._names_of(event["content_block"])) is not None:
                self._held[event["index"]] = (names, [])
                yield {**event, "content_block": _restored_block(event["content_block"], self._renames)}
            elif kind == "content_block_delta" and index in self._held:
                if event["delta"]["type"] == "input_json_delta":
                    self._held[event["index"]][1].append(event["delta"]["partial_json"])
            elif kind == "content_block_stop" and index in self._held:
                names, pieces = self._held.pop(event["index"])
                if text := "".join(pieces):
                    delta = {"type": "input_json_delta", "partial_json": _restored_text(text, names)}
                    yield {"type": "content_block_delta", "index": index, "delta": delta}
                yield event
            else:
                yield event

    def _names_of(self, block: Mapping[str, Any]) -> Mapping[str, str] | None:
        return self._renames.get(block["name"]) if block["type"] == "tool_use" else None


def _replacements(properties: Mapping[str, object]) -> dict[str, str]:
    """New key of each invalid one; the same for the same properties, as prompt caching needs it."""
    sent: dict[str, str] = {}
    taken = set(properties)
    for key in properties:
        if not _VALID.fullmatch(key):
            new = _INVALID_CHARACTER.sub("_", key[: _MAX_CHARS + 1])
            if not _VALID.fullmatch(new) or new in taken:
                digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
                new = f"{new[: _MAX_CHARS - _DIGEST_CHARS - 1]}_{digest}"
            if new not in taken:
                taken.add(new)
                sent[key] = new
    return sent


def _calls_in(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if not isinstance(message["content"], str):
            yield from (block for block in message["content"] if block["type"] == "tool_use")


def _renamed(given: Any, names: Mapping[str, str]) -> Any:
    return {names.get(key, key): value for key, value in given.items()} if isinstance(given, dict) else given


def _restored_block(block: Mapping[str, Any], renames: Renames) -> Mapping[str, Any]:
    names = renames.get(block["name"]) if block["type"] == "tool_use" else None
    if names is None:
        return block
    given = block.get("input")
    if isinstance(given, UnparsedInput):
        return {**block, "input": UnparsedInput(_renamed(given, names), _restored_text(given.text, names))}
    return {**block, "input": _renamed(given, names)}


def _restored_text(text: str, names: Mapping[str, str]) -> str:
    """JSON of an object with the keys of its top level replaced. The text may be cut off anywhere."""
    out: list[str] = []
    depth = done = 0
    is_key = False
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in "{[":
            depth += 1
            is_key = piece == "{"
        elif piece in "}]":
            depth -= 1
        elif piece == ",":
            is_key = True
        elif is_key and depth == 1:
            is_key = False
            if (key := names.get(_string(piece))) is not None:
                out += (text[done : match.start()], json.dumps(key))
                done = match.end()
    return "".join((*out, text[done:]))


def _string(piece: str) -> str:
    try:
        return str(json.loads(piece))
    except ValueError:  # cut off
        return ""
