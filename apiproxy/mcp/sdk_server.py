"""An MCP session as a server of the Agent SDK, which the CLI reaches over its own stdin and stdout."""

from typing import Any

from mcp.server.lowlevel import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, Tool, ToolAnnotations

from apiproxy.mcp.results import MAX_TEXT_CHARS, error_result
from apiproxy.mcp.session import McpSession

_MAX_RESULT = "anthropic/maxResultSizeChars"
"""Without it the CLI puts results over 50,000 characters into a file."""


def sdk_server(session: McpSession) -> dict[str, Any]:
    """Configuration for the SDK's `mcp_servers`, with the tools of the session's offer."""
    offered = {tool.name for tool in session.offer.tools}

    async def list_tools(_context: Any, _params: Any) -> ListToolsResult:
        return ListToolsResult(tools=_tools(session))

    async def call_tool(_context: Any, params: CallToolRequestParams) -> CallToolResult:
        if params.name not in offered:
            return error_result(f"There is no tool {params.name[:100]}.")
        return await session.call(params.name, params.arguments or {})

    server: Server[Any] = Server(session.server.name, on_list_tools=list_tools, on_call_tool=call_tool)
    return {"type": "sdk", "name": session.server.name, "instance": server}


def _tools(session: McpSession) -> list[Tool]:
    return [
        Tool(
            name=tool.name,
            description=tool.description,
            input_schema=tool.input_schema,
            annotations=ToolAnnotations(read_only_hint=True) if tool.read_only else None,
            _meta={_MAX_RESULT: 2 * MAX_TEXT_CHARS},
        )
        for tool in session.offer.tools
    ]
