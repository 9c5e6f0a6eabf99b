"""A stream as the API answers the same request without streaming."""

import json
from typing import Any

from pydantic_core import from_json

from apiproxy.engines.stream.error_types import ERROR_STATUSES

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def whole_answer(stream: bytes) -> tuple[int, dict[str, Any]]:
    """Status and body for a stream's bytes, which hold one event on each `data` line."""
    message: dict[str, Any] = {}
    for line in stream.splitlines():
        if not line.startswith(b"data:"):
            continue
        event = json.loads(line.removeprefix(b"data:"))
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append({**event["content_block"], "index": event["index"]})
            case "content_block_delta":
                _add(message["content"][-1], event["delta"])
            case "message_delta":
                usage = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
                message |= {**event["delta"], "usage": {**(message.get("usage") or {}), **usage}}
            case "error":
                return ERROR_STATUSES.get(event["error"]["type"], 500), event
    for block in message["content"]:
        del block["index"]
        if (text := block.pop("json", None)) is not None:
            block["input"] = from_json(text or "{}", allow_partial=True)
    return 200, message


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    kind = delta["type"]
    if kind in _TEXTS:
        block[_TEXTS[kind]] = (block.get(_TEXTS[kind]) or "") + delta[_TEXTS[kind]]
    elif kind == "input_json_delta":
        block["json"] = block.get("json", "") + delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    else:
        for name, value in delta.items():
            if name != "type":
                block[name] = (block.get(name) or "") + value
