"""Output items of tools that the upstream runs: web searches and MCP calls."""

from collections.abc import Mapping
from typing import Any

from apiproxy.dialects.openai.responses.call_items import Item, item_id_for
from apiproxy.dialects.openai.responses.output_items import Block
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.responses.sealed_search import seal_search
from apiproxy.dialects.openai.translate.answer import arguments
from apiproxy.dialects.openai.translate.server_tools import SEARCH_NAME
from apiproxy.dialects.openai.translate.tool_activity import result_text

RESULTS: Mapping[str, str] = {"web_search_tool_result": "server_tool_use", "mcp_tool_result": "mcp_tool_use"}
"""Types of blocks with results, and of the blocks that they belong to."""


def is_search(block: Block) -> bool:
    """True for the call of a web search."""
    return block["type"] == "server_tool_use" and block.get("name") == SEARCH_NAME


def call_id(block: Block) -> str:
    """Id of the call in a block of it or of its result."""
    return str(block.get("tool_use_id" if block["type"] in RESULTS else "id"))


def server_item(message_id: str, index: int, block: Block, reply: ResponsesReply) -> Item | None:
    """Output item of a call without its result, or of a tool listing; None for other blocks."""
    if is_search(block):
        return search_item(message_id, index, block, None, reply)
    if block["type"] == "mcp_tool_use":
        return mcp_item(message_id, index, block, arguments(block), None)
    return listing_item(message_id, index, block) if block["type"] == "mcp_tool_listing" else None


def search_item(message_id: str, index: int, call: Block, result: Block | None, reply: ResponsesReply) -> Item:
    """Web search item. result: None if the search did not run."""
    given = call.get("input")
    query = given.get("query") if isinstance(given, Mapping) else None
    action: Item = {"type": "search", "query": query if isinstance(query, str) else ""}
    action["queries"] = [action["query"]] if action["query"] else []
    found = result.get("content") if result is not None else None
    if reply.sources:
        action["sources"] = _sources(found)
    status = "incomplete" if result is None else "completed" if isinstance(found, list) else "failed"
    return {"id": item_id_for("ws", message_id, index), "type": "web_search_call", "status": status, "action": action}


def mcp_item(message_id: str, index: int, call: Block, text: str, result: Block | None) -> Item:
    """MCP call item. text: arguments as JSON. result: None if the call did not run."""
    failed = result is not None and bool(result.get("is_error"))
    output = None if result is None else result_text(result.get("content"))
    return {
        "id": item_id_for("mcp", message_id, index),
        "type": "mcp_call",
        "status": "incomplete" if result is None else "failed" if failed else "completed",
        "approval_request_id": None,
        "server_label": call.get("server_name", ""),
        "name": call.get("name", ""),
        "arguments": text,
        "output": None if failed else output,
        "error": _execution_error(output) if failed else None,
    }


def listing_item(message_id: str, index: int, block: Block) -> Item:
    """Tools of an MCP server."""
    tools = block.get("tools")
    return {
        "id": item_id_for("mcpl", message_id, index),
        "type": "mcp_list_tools",
        "server_label": block.get("mcp_server_name", ""),
        "tools": [
            {
                "name": tool.get("name", ""),
                "description": tool.get("description"),
                "input_schema": tool.get("input_schema"),
                "annotations": None,
            }
            for tool in (tools if isinstance(tools, list) else ())
            if isinstance(tool, Mapping)
        ],
        "error": None,
    }


def sealed_item(message_id: str, index: int, call: Block, result: Block) -> Item:
    """Reasoning item that carries a search with its results to the next request.

    The search's own item has no field for results.
    """
    return {
        "id": item_id_for("rs", message_id, index),
        "type": "reasoning",
        "summary": [],
        "encrypted_content": seal_search(call, result),
    }


def _sources(found: Any) -> list[Item]:
    pages = found if isinstance(found, list) else ()
    return [{"type": "url", "url": page["url"]} for page in pages if isinstance(page, Mapping) and "url" in page]


def _execution_error(text: str | None) -> Item:
    return {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text or ""}]}
