"""Items of server tools in the input, as the upstream's blocks.

A conversation must never end here: what cannot be sent back is left out and reported.
"""

from typing import Any

from apiproxy.dialects.openai.responses.item_schemas import McpCallItem, McpListingItem, SearchCallItem
from apiproxy.dialects.openai.responses.sealed_search import open_search
from apiproxy.dialects.openai.translate.content import Block, is_blank, text_block
from apiproxy.dialects.openai.translate.conversation import Conversation
from apiproxy.dialects.openai.translate.ignored import IgnoredFields
from apiproxy.dialects.openai.translate.server_tools import LISTING_BETA, ServerTools

_WITHOUT_RESULTS = ("incomplete", "in_progress", "searching", "failed")
ServerItem = SearchCallItem | McpCallItem | McpListingItem

_MAX_NAME_CHARS = 256
_ITEM_PREFIX = "mcp_"
_CALL_PREFIX = "mcptoolu_"
"""Prefix of the upstream's ids of MCP calls; the rest is that of the item's id."""


class ServerHistory:
    """Adds server tool items of one request to its conversation. tools: server tools of the request."""

    def __init__(self, conversation: Conversation, tools: ServerTools, ignored: IgnoredFields) -> None:
        self._conversation = conversation
        self._tools = tools
        self._ignored = ignored
        self._searches = 0

    def add(self, item: ServerItem) -> None:
        """Add an item, or report it."""
        match item:
            case SearchCallItem():
                self._searches += item.status not in _WITHOUT_RESULTS  # which come with `add_sealed`
            case McpCallItem():
                self._add_mcp_call(item)
            case McpListingItem():
                self._add_listing(item)

    def add_sealed(self, content: str) -> None:
        """Add a web search with its results. content: from `seal_search`."""
        found = open_search(content, self._conversation.values)
        if found is None:
            self._ignored.add("input.encrypted_content", "not this gateway's")
        elif self._tools.search is None:
            self._ignored.add("input.web_search_call", "the request has no web search")
        elif self._conversation.claim_id(found[0]["id"]):
            self._conversation.add_assistant(found)
        if found is not None:
            self._searches -= isinstance(found[1]["content"], list)  # else it has failed, and counts as without results

    def finish(self) -> None:
        """Report searches whose results the client does not have."""
        if self._searches > 0:
            self._ignored.add("input.web_search_call", "left out: the items hold no results")

    def _add_mcp_call(self, item: McpCallItem) -> None:
        result = _result(item)
        given = self._arguments(item.arguments)
        if not self._tools.has_server(item.server_label):
            self._ignored.add("input.mcp_call", "the request has no such MCP server")
        elif result is None or given is None or not _is_name(item.name):
            self._ignored.add("input.mcp_call", "left out: incomplete")
        else:
            call_id = self._conversation.server_call_id(_without_prefix(item.id), prefix=_CALL_PREFIX)
            call = {"type": "mcp_tool_use", "id": call_id, "name": item.name, "server_name": item.server_label}
            answer = {"type": "mcp_tool_result", "tool_use_id": call_id, **result}
            self._conversation.add_assistant([{**call, "input": given}, answer])

    def _add_listing(self, item: McpListingItem) -> None:
        """Add the tools of a server, so that the upstream does not ask for them again."""
        if self._tools.offer.own_mcp:
            return  # the agent lists its tools itself
        known_beta = self._tools.offer.mcp_beta == LISTING_BETA
        if not known_beta or not self._conversation.begun or not self._tools.has_server(item.server_label):
            self._ignored.add("input.mcp_list_tools", "left out: the upstream asks the MCP server")
            return
        tools = [_listed_tool(tool) for tool in (item.tools if isinstance(item.tools, list) else ())]
        listing = {"type": "mcp_tool_listing", "mcp_server_name": item.server_label}
        self._conversation.add_assistant([{**listing, "tools": [tool for tool in tools if tool is not None]}])

    def _arguments(self, text: Any) -> dict[str, Any] | None:
        """Arguments as an object; None if they are not one."""
        try:
            read = self._conversation.values.loads(text) if isinstance(text, str) and text.strip() else {}
        except ValueError:
            return None
        return read if isinstance(read, dict) else None


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME_CHARS


def _without_prefix(item_id: Any) -> str:
    return item_id.removeprefix(_ITEM_PREFIX) if isinstance(item_id, str) else ""


def _result(item: McpCallItem) -> dict[str, Any] | None:
    """Result of a call; None if it has none."""
    if item.error is not None:
        return {"is_error": True, "content": _text_blocks(_error_text(item.error))}
    if isinstance(item.output, str):
        return {"is_error": False, "content": _text_blocks(item.output)}
    return None


def _error_text(error: Any) -> str:
    """Text of an error: a string, an object with a message, or the content of a failed call."""
    if isinstance(error, dict):
        content = error.get("content")
        parts = [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        error = "\n".join(part for part in parts if isinstance(part, str)) or error.get("message")
    return error if isinstance(error, str) else ""


def _text_blocks(text: str) -> list[Block]:
    return [] if is_blank(text) else [text_block(text)]


def _listed_tool(tool: Any) -> dict[str, Any] | None:
    """Tool in the upstream's form; None for one that it would reject."""
    if not isinstance(tool, dict) or not _is_name(tool.get("name")) or not isinstance(tool.get("input_schema"), dict):
        return None
    known = {"name": tool["name"], "input_schema": tool["input_schema"]}
    described = isinstance(tool.get("description"), str)
    return {**known, "description": tool["description"]} if described else known
