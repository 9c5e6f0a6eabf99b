"""Check of what a started CLI really offers. Pure.

The CLI says nothing about tools that it leaves out and servers that it cannot reach.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from apiproxy.core.agents import BUILT_IN_SERVER, AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.engines.agents.names import offered_name, split_name
from apiproxy.mcp.errors import McpError
from apiproxy.mcp.tools import McpTool, Offer


def check_offer(init: Mapping[str, Any], agent: AgentSpec, offers: Mapping[str, Offer]) -> None:
    """Raise ProxyError if a built-in tool, a required stdio server or a tool of an http or sse server is missing.

    init: the CLI's message. offers: of the servers that the gateway answers for, by name.
    """
    tools = set(_strings(init.get("tools")))
    connected = {name for name, status in _statuses(init) if status == "connected"}
    for server in agent.mcp_servers:
        if server.transport == "stdio" and server.required and server.name not in connected:
            raise server_down(server.name, McpError("its command did not start, or did not answer"))
    wanted = list(agent.tools)
    wanted += [offered_name(server, tool.name) for server, offer in offers.items() for tool in offer.tools]
    missing = [name for name in wanted if name not in tools]
    if missing:
        message = f"The agent {agent.slug} cannot use its tool {missing[0]}: the CLI does not offer it."
        raise ProxyError(FailureKind.WORKER_UNAVAILABLE, message)


def listing_of(init: Mapping[str, Any], agent: AgentSpec, offers: Mapping[str, Offer]) -> list[dict[str, Any]]:
    """`mcp_tool_listing` blocks with what the client may know of the tools: one per server, one for built-in tools.

    Of stdio servers only the names are known.
    """
    if agent.show_tool_calls == "none":
        return []
    servers = [server.name for server in agent.mcp_servers]
    tools: dict[str, list[dict[str, Any]]] = {}
    for offered in _strings(init.get("tools")):
        server, name = split_name(offered, servers)
        tools.setdefault(server, []).append({"name": name, "input_schema": {"type": "object"}})
    if agent.show_tool_calls == "all":
        tools |= {name: [_entry(tool) for tool in offer.tools] for name, offer in offers.items()}
    order = [*([BUILT_IN_SERVER] if agent.tools else []), *servers]
    return [
        {"type": "mcp_tool_listing", "mcp_server_name": server, "tools": tools[server]}
        for server in order
        if server in tools
    ]


def server_down(name: str, reason: BaseException) -> ProxyError:
    """Error of a run that needs this server."""
    detail = f": {reason}" if isinstance(reason, McpError) else ""
    return ProxyError(FailureKind.MCP_SERVER_DOWN, f"The MCP server {name} is not available{detail}".rstrip(".") + ".")


def _entry(tool: McpTool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def _statuses(init: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    servers = init.get("mcp_servers")
    for server in servers if isinstance(servers, list) else ():
        if isinstance(server, Mapping):
            yield str(server.get("name")), str(server.get("status"))


def _strings(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
