"""Upper bound of a request's input tokens, from its body. Pure; walks the body once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from apiproxy.core.events import Usage
from apiproxy.core.pricing import caches_for_an_hour

_USUAL_BYTES_PER_TOKEN = 2
"""English text has about four, code and other languages about three; fewer than two are very rare."""
_OWN_TOKENS = 64
"""Prompt tokens in addition to the client's blocks: the identity line of the SDK."""
_TOOLS_TOKENS = 700
"""Maximum size of the API's own tool prompt. Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use"""
_IMAGE_TOKENS = 5_000
"""The largest image. Source: https://platform.claude.com/docs/en/build-with-claude/vision (4,784 for new models)."""
_USUAL_DOCUMENT_TOKENS = 20_000
"""A document whose text is not in the request: a PDF, a file, a URL."""
_MOST_INPUT_TOKENS = 1_000_000
"""The largest context window; used for models of unknown size."""
_UNSEEN_FIELDS = ("mcp_servers", "thread", "container")
"""Fields that add input from outside the request: tool lists, earlier messages, skills."""
_LONG_CHARS = 256 * 1024
_MAX_VALUES = 1_000
"""Parts of messages that wait to be counted: each is a copy of its mapping."""
_CLIENT_TOOLS = ("custom", "bash_", "computer_", "memory_", "text_editor_")
"""Type prefixes of tools run by the client. Other tools may add input at the upstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputEstimate:
    """Input tokens of a body. most: an upper bound; usual: very rarely exceeded."""

    most: int
    usual: int


def input_estimate(body: Mapping[str, Any], *, context_window: int | None = None) -> InputEstimate:
    """Both estimates, capped at the model's context window.

    `most` counts one token per byte of the body as JSON. The tokenizer is unpublished, but a byte-level tokenizer never
    needs more, and adversarial text (random characters, emoji) comes close. Every image counts as the largest possible.
    Referenced or compressed documents, and input that the upstream adds, may fill the context window.
    """
    limit = context_window or _MOST_INPUT_TOKENS
    own = _OWN_TOKENS + (_TOOLS_TOKENS if body.get("tools") else 0)
    walk = _Walk(stop_at=limit * _USUAL_BYTES_PER_TOKEN)
    walk.body(body)
    most = own + walk.size_bytes + walk.images * _IMAGE_TOKENS
    usual = own + -(-walk.size_bytes // _USUAL_BYTES_PER_TOKEN) + walk.images * _IMAGE_TOKENS
    usual += walk.documents * _USUAL_DOCUMENT_TOKENS
    if walk.documents or _upstream_adds_input(body):
        most = max(most, limit)
    if context_window is None:
        return InputEstimate(most=most, usual=usual)
    return InputEstimate(most=min(most, context_window), usual=min(usual, context_window))


def estimated_input(body: Mapping[str, Any], *, context_window: int | None = None) -> Usage:
    """Input to charge if the upstream did not report usage: the upper bound."""
    tokens = input_estimate(body, context_window=context_window).most
    if _caches(body):
        hour = tokens if caches_for_an_hour(body) else 0
        return Usage(cache_creation_input_tokens=tokens, cache_creation_1h_input_tokens=hour, estimated=True)
    return Usage(input_tokens=tokens, estimated=True)


class _Walk:
    """Size of a body as JSON, without images and documents, which are counted.

    Images count only in content blocks: in free-form JSON (a tool's input, a schema) any object may have type `image`.
    stop_at: size in bytes above which the exact figure no longer matters.
    """

    def __init__(self, *, stop_at: int) -> None:
        self.size_bytes = 0
        self.images = 0
        self.documents = 0
        self._stop_at = stop_at
        self._values: list[Any] = []

    def body(self, body: Mapping[str, Any]) -> None:
        """Count every field."""
        for name, value in body.items():
            self.size_bytes += _json_bytes(name) + 2
            if name == "messages" and isinstance(value, list):
                self.size_bytes += len(value) + 1
                for message in value:
                    self._with_content(message)
                    if len(self._values) > _MAX_VALUES:
                        self._count_values()
            elif name == "system":
                self._content(value)
            else:
                self._values.append(value)
        self._count_values()

    def _content(self, content: Any) -> None:
        """Count content blocks, including nested ones (tool results, document content)."""
        waiting = [content]
        while waiting and self.size_bytes < self._stop_at:
            part = waiting.pop()
            if not isinstance(part, list):
                self._values.append(part)
                continue
            self.size_bytes += len(part) + 1
            for block in part:
                waiting.extend(self._block(block))
        self._values.extend(waiting)

    def _with_content(self, holder: Any) -> None:
        if not isinstance(holder, dict):
            self._values.append(holder)
            return
        self._fields(holder, apart="content")
        self._content(holder.get("content"))

    def _block(self, block: Any) -> list[Any]:
        """Count one block; return the nested lists of blocks still to be counted."""
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_result":
            self._fields(block, apart="content")
            return [block.get("content")]
        source = block.get("source") if kind in ("image", "document") else None
        if not isinstance(source, dict):
            self._values.append(block)
            return []
        self._fields(block, apart="source")
        if kind == "image":
            self.images += 1
        elif source.get("type") == "content":
            self._fields(source, apart="content")
            return [source.get("content")]
        elif source.get("type") != "text":
            self.documents += 1
        is_data = source.get("type") == "base64" and isinstance(source.get("data"), str)
        self._fields(source, apart="data" if is_data else "")
        return []

    def _fields(self, mapping: Mapping[Any, Any], *, apart: str) -> None:
        """Count the fields of a mapping; of the field `apart` only the name."""
        self.size_bytes += _json_bytes(apart) + 4 if apart in mapping else 0
        self._values.append({name: value for name, value in mapping.items() if name != apart})

    def _count_values(self) -> None:
        """Count free-form JSON without recursion, so that its depth does not matter."""
        waiting = self._values
        while waiting and self.size_bytes < self._stop_at:
            value = waiting.pop()
            if isinstance(value, str):
                # Above stop_at the exact length no longer matters, and copying megabytes is slow.
                self.size_bytes += len(value) if len(value) > self._stop_at else _json_bytes(value)
            elif isinstance(value, list):
                self.size_bytes += len(value) + 1
                waiting.extend(value)
            elif isinstance(value, dict):
                self.size_bytes += 2 * len(value) + 1
                waiting.extend(value.keys())
                waiting.extend(value.values())
            else:
                self.size_bytes += len(repr(value))


def _json_bytes(text: str) -> int:
    """Length of the text as JSON, including quotes and escapes."""
    if len(text) > _LONG_CHARS:  # one call would hold the GIL
        parts = (text[at : at + _LONG_CHARS] for at in range(0, len(text), _LONG_CHARS))
        return sum(_json_bytes(part) - 2 for part in parts) + 2
    try:
        return len(orjson.dumps(text))
    except orjson.JSONEncodeError:  # lone surrogates
        return 6 * len(text) + 2


def _upstream_adds_input(body: Mapping[str, Any]) -> bool:
    """True if MCP servers, server tools or a stored conversation may add input."""
    if any(body.get(name) for name in _UNSEEN_FIELDS):
        return True
    tools = body.get("tools")
    return isinstance(tools, list) and any(_is_server_tool(tool) for tool in tools)


def _is_server_tool(tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return isinstance(kind, str) and not kind.startswith(_CLIENT_TOOLS)


def _caches(body: Mapping[str, Any]) -> bool:
    """True if the request, a tool or a block has `cache_control`."""
    parts = [body, *_dicts(body.get("tools")), *_dicts(body.get("system"))]
    for message in _dicts(body.get("messages")):
        for block in _dicts(message.get("content")):
            parts += [block, *_dicts(block.get("content"))]
    return any(part.get("cache_control") for part in parts)


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
