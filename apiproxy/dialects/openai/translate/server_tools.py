"""Tools that the upstream runs: their definitions, and the conditions for their use."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiproxy.dialects.openai.translate.ignored import IgnoredFields
from apiproxy.keys.allow_lists import Names

SEARCH_VERSIONS = ("web_search_20250305", "web_search_20260318", "web_search_20260209")
"""Types of the web search tool, preferred first. The oldest works the same on every model and platform; the later ones
search from within code execution unless they are limited to direct calls.
Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool"""
SEARCH_NAME = "web_search"
"""Name of the tool, fixed by the Messages API."""
MCP_BETAS = ("mcp-client-2026-09-15", "mcp-client-2025-11-20")
"""Betas of the MCP connector, preferred first. With the first one, answers report the tools of a server.
Source: https://platform.claude.com/docs/en/agents-and-tools/mcp-connector"""
LISTING_BETA = MCP_BETAS[0]
_CALLS = ("server_tool_use", "mcp_tool_use")
_RESULT = "_tool_result"
"""End of the types of blocks with results of server tools; a client's are of the type `tool_result`."""
_LISTING = "mcp_tool_listing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerToolOffer:
    """Server tools that the key may use at the upstream.

    search: type of the web search tool. search_betas: betas that it needs. mcp_beta: beta of the MCP connector.
    mcp_hosts: allow-lists of their hosts. no_search, no_mcp: reason why they are unavailable, in ASCII; empty if they
    are available. own_mcp: the model is an agent, whose calls of MCP servers stay in the conversation without a
    declaration.
    """

    search: str = SEARCH_VERSIONS[0]
    search_betas: tuple[str, ...] = ()
    no_search: str = ""
    mcp_beta: str = MCP_BETAS[0]
    mcp_hosts: tuple[Names, ...] = ()
    no_mcp: str = ""
    own_mcp: bool = False


@dataclass(slots=True, kw_only=True)
class ServerTools:
    """Server tools of one request, as the Messages API defines them.

    search: web search tool. toolsets, servers: MCP toolsets and their servers, by label; a label without a toolset is
    not offered.
    """

    offer: ServerToolOffer = field(default_factory=ServerToolOffer)
    search: dict[str, Any] | None = None
    toolsets: dict[str, dict[str, Any]] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Definitions for `tools`."""
        return ([self.search] if self.search is not None else []) + list(self.toolsets.values())

    @property
    def names(self) -> frozenset[str]:
        """Names of the tools, for `tool_choice`; a toolset has none."""
        return frozenset() if self.search is None else frozenset({SEARCH_NAME})

    @property
    def mcp_servers(self) -> list[dict[str, Any]]:
        """Definitions for `mcp_servers`: each server needs exactly one toolset."""
        return [self.servers[label] for label in self.toolsets]

    @property
    def betas(self) -> tuple[str, ...]:
        """Betas that the definitions need."""
        search = self.offer.search_betas if self.search is not None else ()
        return (*search, self.offer.mcp_beta) if self.toolsets else search

    def keep(self, *, search: bool, labels: Iterable[str]) -> None:
        """Drop the tools that `tool_choice` does not allow."""
        if not search:
            self.search = None
        allowed = frozenset(labels)
        self.toolsets = {label: toolset for label, toolset in self.toolsets.items() if label in allowed}

    def keep_planned(self, tools: Sequence[Mapping[str, Any]], messages: list[dict[str, Any]]) -> None:
        """Drop what the final list of tools lacks, and earlier calls of it from the messages."""
        planned = {id(tool) for tool in tools}
        if all(id(tool) in planned for tool in self.tools):
            return
        labels = [label for label, toolset in self.toolsets.items() if id(toolset) in planned]
        self.keep(search=id(self.search) in planned, labels=labels)
        messages[:] = self.continued(messages)

    def continued(self, messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages without what the upstream would reject.

        That is calls of tools that the request does not offer, and calls and results without their counterpart in the
        same message: those of an answer that was paused or cut off.
        """
        changed = [{**message, "content": self._continued(message["content"])} for message in messages]
        return [message for message in changed if message["content"]]

    def _continued(self, content: Any) -> Any:
        if isinstance(content, str):
            return content
        calls = {block["id"] for block in content if block["type"] in _CALLS and self._is_offered(block)}
        complete = calls & {block.get("tool_use_id") for block in content if block["type"].endswith(_RESULT)}
        return [block for block in content if self._is_continued(block, complete)]

    def _is_continued(self, block: Mapping[str, Any], complete: Container[str]) -> bool:
        if block["type"] in _CALLS:
            return block["id"] in complete
        if block["type"].endswith(_RESULT):
            return block.get("tool_use_id") in complete
        return block["type"] != _LISTING or block["mcp_server_name"] in self.toolsets

    def has_server(self, label: object) -> bool:
        """True if calls of this MCP server may be in the conversation."""
        return isinstance(label, str) and (self.offer.own_mcp or label in self.toolsets)

    def _is_offered(self, call: Mapping[str, Any]) -> bool:
        if call["type"] == "server_tool_use":
            return self.search is not None and call.get("name") == SEARCH_NAME
        return self.has_server(call.get("server_name"))

    def drop_shadowed(self, names: Iterable[str], ignored: IgnoredFields) -> None:
        """Drop the web search if a function has its name. names: those of the functions."""
        if self.search is not None and SEARCH_NAME in names:
            self.search = None
            ignored.add(SEARCH_NAME, "a function has the same name")
