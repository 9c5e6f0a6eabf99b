"""Web searches and MCP calls: upstream blocks and client tools that the tests share."""

from typing import Any

PAGE = {
    "type": "web_search_result",
    "url": "https://example.org/shannon",
    "title": "Claude Shannon",
    "encrypted_content": "Eqg=",
    "page_age": None,
}
SEARCH: dict[str, Any] = {
    "type": "server_tool_use",
    "id": "srvtoolu_01S",
    "name": "web_search",
    "input": {"query": "claude shannon birth date"},
}
FOUND: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01S", "content": [PAGE]}
NOT_FOUND: dict[str, Any] = {
    **FOUND,
    "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
}
CITATION = {
    "type": "web_search_result_location",
    "url": PAGE["url"],
    "title": PAGE["title"],
    "encrypted_index": "Eo8=",
    "cited_text": "Claude Elwood Shannon (April 30, 1916",
}
CITED: dict[str, Any] = {"type": "text", "text": "He was born on April 30, 1916", "citations": [CITATION]}
MCP_CALL: dict[str, Any] = {
    "type": "mcp_tool_use",
    "id": "mcptoolu_01M",
    "name": "add",
    "server_name": "calc",
    "input": {"a": 1, "b": 2},
}
MCP_RESULT: dict[str, Any] = {
    "type": "mcp_tool_result",
    "tool_use_id": "mcptoolu_01M",
    "is_error": False,
    "content": [{"type": "text", "text": "3"}],
}
LISTING: dict[str, Any] = {
    "type": "mcp_tool_listing",
    "mcp_server_name": "calc",
    "tools": [{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}],
}
MCP_TOOL: Any = {
    "type": "mcp",
    "server_label": "calc",
    "server_url": "https://mcp.example.org/mcp",
    "require_approval": "never",
}
MCP_SERVER = {"type": "url", "name": "calc", "url": "https://mcp.example.org/mcp"}


def text(words: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": words}
