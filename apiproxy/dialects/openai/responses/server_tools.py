"""Web search and MCP tools of Responses requests."""

from collections.abc import Iterable, Mapping
from typing import Any

from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.tool_schemas import McpChoice
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.mcp import McpTool, add_server, only_tool
from apiproxy.dialects.openai.translate.server_tools import SEARCH_NAME, ServerToolOffer, ServerTools
from apiproxy.dialects.openai.translate.tools import Choice
from apiproxy.dialects.openai.translate.validation import read
from apiproxy.dialects.openai.translate.web_search import SearchOptions, add_search, is_search_tool

_MCP = "mcp"
_REDACTED = "<redacted>"


def is_server_tool(kind: object) -> bool:
    """True for OpenAI's types of tools that become server tools."""
    return kind == _MCP or is_search_tool(kind)


class ServerToolReader:
    """Reads the server tools of one request into `tools`."""

    def __init__(self, request: ResponsesRequest, offer: ServerToolOffer, ignored: IgnoredFields) -> None:
        self.tools = ServerTools(offer=offer)
        self._ignored = ignored
        self._max_calls = request.max_tool_calls
        choice = request.tool_choice
        self._search_is_forced = isinstance(choice, dict) and is_search_tool(choice.get("type"))
        self._searches = False

    def add(self, kind: str, tool: Mapping[str, Any], field: str) -> None:
        """Add a declared tool. field: its path.

        Raises ProxyError (INVALID_REQUEST) naming the invalid field.
        """
        if kind == _MCP:
            add_server(self.tools, read(McpTool, tool, within=field), field=field, ignored=self._ignored)
            return
        self._searches = True
        add_search(
            self.tools,
            read(SearchOptions, tool, within=field),
            field=field,
            forced=self._search_is_forced,
            max_calls=self._max_calls,
            ignored=self._ignored,
        )

    def finish(self) -> None:
        """Report a limit of calls that does not apply to every server tool."""
        if self._max_calls is not None and (self.tools.toolsets or not self._searches):
            self._ignored.add("max_tool_calls", "limits web searches only" if self._searches else "")


def forced_server_tool(choice: Mapping[str, Any], tools: ServerTools, field: str) -> Choice:
    """Choice that forces a web search, or a call of one MCP server, whose toolset is then the only tool.

    Raises ProxyError (INVALID_REQUEST) if there is no such tool.
    """
    if is_search_tool(choice.get("type")):
        if tools.search is None:
            raise invalid_field(field, "no web search is declared, or it is not available")
        return Choice(field=field, name=SEARCH_NAME)
    wanted = read(McpChoice, choice, within=field)
    if wanted.server_label not in tools.toolsets:
        raise invalid_field(f"{field}.server_label", "no MCP server with this label is declared")
    if wanted.name is not None:
        toolset = tools.toolsets[wanted.server_label]
        tools.toolsets[wanted.server_label] = only_tool(toolset, wanted.name, f"{field}.name")
    tools.keep(search=False, labels=[wanted.server_label])
    return Choice(field=field, mode="required", only=frozenset())


def keep_allowed(allowed: Iterable[Mapping[str, Any]], tools: ServerTools) -> None:
    """Drop the server tools that the entries of an `allowed_tools` choice do not name."""
    named = list(allowed)
    labels = [entry.get("server_label") for entry in named if entry.get("type") == _MCP]
    tools.keep(
        search=any(is_search_tool(entry.get("type")) for entry in named),
        labels=[label for label in labels if isinstance(label, str)],
    )


def without_secrets(tools: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tools as a response repeats them: without the credentials of MCP servers, as at OpenAI."""
    return [_without_secrets(tool) if tool.get("type") == _MCP else tool for tool in tools]


def _without_secrets(tool: Mapping[str, Any]) -> dict[str, Any]:
    echoed = dict(tool)
    if echoed.get("authorization"):
        echoed["authorization"] = _REDACTED
    if isinstance(echoed.get("headers"), dict):
        echoed["headers"] = dict.fromkeys(echoed["headers"], _REDACTED)
    return echoed
