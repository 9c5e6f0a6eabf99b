"""Size and shape of a request body, as stored in its trace. Never contains text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MAX_BLOCKS = 10_000
"""Maximum content blocks measured, else a large body takes more than milliseconds."""

_TECHNICAL = frozenset({"type", "role", "model", "media_type", "cache_control", "signature", "service_tier", "effort"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyStats:
    """Sizes in characters of text, without binary content. All zero for a malformed body."""

    message_count: int = 0
    prompt_chars: int = 0
    system_chars: int = 0
    tool_count: int = 0
    thinking: bool = False


def measure_body(body: Mapping[str, Any]) -> BodyStats:
    """Measure a body, which may have any shape."""
    messages, tools, thinking = body.get("messages"), body.get("tools"), body.get("thinking")
    return BodyStats(
        message_count=len(messages) if isinstance(messages, list) else 0,
        prompt_chars=sum(map(len, texts_of(messages))),
        system_chars=sum(map(len, texts_of(body.get("system")))),
        tool_count=len(tools) if isinstance(tools, list) else 0,
        thinking=isinstance(thinking, dict) and thinking.get("type") not in (None, "disabled"),
    )


def texts_of(content: object) -> Iterator[str]:
    """Texts in `messages`, `system` or a block's `content`, unordered."""
    stack, seen = [content], 0
    while stack and seen < _MAX_BLOCKS:
        seen += 1
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            stack.extend(item[name] for name in ("content", "text", "thinking", "source") if name in item)
            if item.get("type") == "text" and isinstance(item.get("data"), str):  # source of a document block
                yield item["data"]


def strings_of(body: Mapping[str, Any]) -> Iterator[str]:
    """All strings that the client may have written, including tool names and file contents."""
    stack: list[object] = [value for name, value in body.items() if name not in _TECHNICAL]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            binary = item.get("type") == "base64"
            stack.extend(
                value for name, value in item.items() if name not in _TECHNICAL and not (binary and name == "data")
            )
