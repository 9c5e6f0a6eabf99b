"""GET /v1/responses/{id}/input_items: stored messages as a client's items. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.openai.responses.call_items import Item, call_item
from apiproxy.dialects.openai.responses.content import encode_thinking
from apiproxy.dialects.openai.responses.output_items import text_part
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES, arguments
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind
from apiproxy.dialects.openai.translate.ignored import invalid_field

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

_CALL, _RESULT = "tool_use", "tool_result"
_PREFIXES = {_CALL: "fc", _RESULT: "fco", "thinking": "rs", "redacted_thinking": "rs"}
_CUSTOM_PREFIXES = {_CALL: "ctc", _RESULT: "cto"}
_LISTED_KINDS = (ToolKind.FUNCTION, ToolKind.CUSTOM)
"""Kinds whose items are exact. Calls of others are listed as functions, as the upstream had them."""
Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Requested page. after: id of the last item of the page before, empty for the first."""

    limit: int = DEFAULT_LIMIT
    ascending: bool = False
    after: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Blocks of a message that are one item, which is made only if it is on the page.

    tool: tool of a call or a result.
    """

    id: str
    role: str
    blocks: Sequence[Block]
    tool: CalledTool | None = None


def read_page(query: Mapping[str, str]) -> Page:
    """Page of a query. Raises ProxyError (INVALID_REQUEST)."""
    limit, order = query.get("limit", str(DEFAULT_LIMIT)), query.get("order", "desc")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and 1 <= int(limit) <= MAX_LIMIT):
        raise invalid_field("limit", f"must be from 1 to {MAX_LIMIT}")
    if order not in ("asc", "desc"):
        raise invalid_field("order", "must be 'asc' or 'desc'")
    return Page(int(limit), order == "asc", query.get("after", ""))


def list_input(
    messages: Sequence[Block], response_id: str, page: Page, *, called: Mapping[str, CalledTool] | None = None
) -> bytes:
    """Page of the items of these messages as JSON.

    Raises ProxyError (INVALID_REQUEST) for an unknown `after`. called: tools of the request by upstream name, without
    plain functions.
    """
    entries = list(_entries(messages, response_id.removeprefix("resp_"), called or {}))
    if not page.ascending:
        entries.reverse()
    start = 0
    if page.after:
        start = next((at for at, entry in enumerate(entries, 1) if entry.id == page.after), 0)
        if not start:
            raise invalid_field("after", "no such item in this list")
    chosen = entries[start : start + page.limit]
    return dumps(
        {
            "object": "list",
            "data": [_item(entry) for entry in chosen],
            "first_id": chosen[0].id if chosen else None,
            "last_id": chosen[-1].id if chosen else None,
            "has_more": start + page.limit < len(entries),
        }
    )


def message_items(messages: Sequence[Block], response_id: str, *, role: str) -> list[Item]:
    """The messages of one role as items."""
    entries = _entries(messages, response_id.removeprefix("resp_"), {})
    return [_item(entry) for entry in entries if entry.role == role and "_" not in entry.blocks[0]["type"]]


def _entries(messages: Sequence[Block], suffix: str, called: Mapping[str, CalledTool]) -> Iterator[_Entry]:
    count = 0
    by_call: dict[str, CalledTool] = {}
    for message in messages:
        role, content = message["role"], message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        alone = role == "assistant"
        # A user's message is one item, but each of its tool results is its own.
        for _, found in groupby(enumerate(blocks), key=lambda it: it[0] if alone else _PREFIXES.get(it[1]["type"])):
            group = [block for _, block in found]
            for part in [[it] for it in group] if group[0]["type"] == _RESULT else [group]:
                tool = _tool(part[0], called, by_call)
                yield _Entry(f"{_prefix(part[0], tool)}_{suffix}_{count}", role, part, tool)
                count += 1


def _tool(block: Block, called: Mapping[str, CalledTool], by_call: dict[str, CalledTool]) -> CalledTool | None:
    """Tool of a call or a result; None for plain functions. by_call: tools of the calls so far, which this adds to."""
    if block["type"] == _RESULT:
        return by_call.get(block["tool_use_id"])
    tool = called.get(block["name"]) if block["type"] == _CALL else None
    if tool is None or tool.kind not in _LISTED_KINDS:
        return None
    by_call[block["id"]] = tool
    return tool


def _prefix(block: Block, tool: CalledTool | None) -> str:
    prefixes = _CUSTOM_PREFIXES if tool is not None and tool.kind is ToolKind.CUSTOM else _PREFIXES
    return prefixes.get(block["type"], "msg")


def _item(entry: _Entry) -> Item:
    block = entry.blocks[0]
    match block["type"]:
        case "tool_use":
            return {**call_item("", 0, block, entry.tool, arguments(block)), "id": entry.id}
        case "tool_result":
            custom = entry.tool is not None and entry.tool.kind is ToolKind.CUSTOM
            kind = "custom_tool_call_output" if custom else "function_call_output"
            result = {"call_id": block["tool_use_id"], "output": _output(block.get("content"))}
            return {"id": entry.id, "type": kind, "status": "completed", **result}
        case kind if kind in THINKING_TYPES:
            return {"id": entry.id, "type": "reasoning", "summary": [], "encrypted_content": encode_thinking(block)}
    parts = [text_part(it.get("text") or "") if entry.role == "assistant" else _part(it) for it in entry.blocks]
    return {"id": entry.id, "type": "message", "status": "completed", "role": entry.role, "content": parts}


def _output(content: object) -> str | list[Item]:
    if isinstance(content, list):
        return [_part(block) for block in content]
    return content if isinstance(content, str) else ""


def _part(block: Block) -> Item:
    source = block.get("source") or {}
    match block["type"]:
        case "image":
            return {"type": "input_image", "detail": "auto", **_reference(source, "image_url")}
        case "document" if source.get("type") == "text":
            return {"type": "input_text", "text": source["data"]}
        case "document":
            name = {"filename": block["title"]} if block.get("title") else {}
            return {"type": "input_file", **name, **_reference(source, "file_data")}
        case _:
            return {"type": "input_text", "text": block.get("text") or ""}


def _reference(source: Block, data_field: str) -> Item:
    match source.get("type"):
        case "base64":
            return {data_field: f"data:{source['media_type']};base64,{source['data']}"}
        case "url":
            return {"image_url" if data_field == "image_url" else "file_url": source["url"]}
        case _:
            return {"file_id": source.get("file_id")}
