"""Calls of server tools as text, for an API without items for them. Pure."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.message import tool_input
from apiproxy.dialects.openai.translate.answer import arguments

CALL, RESULT = "mcp_tool_use", "mcp_tool_result"
MAX_ARGUMENTS_CHARS = 1_000
MAX_RESULT_CHARS = 2_000
PARAGRAPH = "\n\n"
"""Separates texts before and after a call, which the model wrote as different messages."""


class ToolActivity:
    """Paragraphs about the calls and results in one answer."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def paragraph(self, block: Mapping[str, Any]) -> str:
        """Paragraph about a complete block; empty for a block that is neither a call nor a result."""
        if block["type"] == CALL:
            name = f"{block.get('server_name', '')}/{block.get('name', '')}"
            self._names[str(block.get("id"))] = name
            return f"\n[call] {name} {_cut(arguments(block), MAX_ARGUMENTS_CHARS)}\n"
        if block["type"] == RESULT:
            name = self._names.get(str(block.get("tool_use_id")), "")
            kind = "error" if block.get("is_error") else "result"
            return f"\n[{kind}] {name} {_cut(result_text(block.get('content')), MAX_RESULT_CHARS)}\n"
        return ""


class StreamedActivity:
    """Paragraphs about the calls and results in a stream."""

    def __init__(self) -> None:
        self._activity = ToolActivity()
        self._open: dict[int, tuple[Mapping[str, Any], list[str]]] = {}

    def begin(self, index: int, block: Mapping[str, Any]) -> None:
        """Note the start of a block."""
        if block["type"] in (CALL, RESULT):
            self._open[index] = (block, [])

    def add(self, index: int, delta: Mapping[str, Any]) -> None:
        """Note a delta of a block."""
        text = delta.get("partial_json")
        if isinstance(text, str) and (begun := self._open.get(index)) is not None:
            begun[1].append(text)

    def end(self, index: int) -> str:
        """Paragraph about the block; empty for others."""
        begun = self._open.pop(index, None)
        if begun is None:
            return ""
        block, pieces = begun
        text = "".join(pieces)
        return self._activity.paragraph({**block, "input": tool_input(text)} if text else block)


def result_text(content: Any) -> str:
    """Text of a result: a string, or blocks, of which others than text are named."""
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    return "\n".join(
        part["text"] if isinstance(part.get("text"), str) else f"[{part.get('type', 'content')}]" for part in parts
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
