"""OpenAI's MCP tools as the Messages API's MCP servers and toolsets."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from apiproxy.dialects.openai.fields import Accepted, Each
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field
from apiproxy.dialects.openai.translate.server_tools import ServerTools
from apiproxy.keys.allow_lists import check_mcp_url

_NO_APPROVALS = (
    "must be 'never', or name the tools under `never.tool_names`: the upstream calls MCP tools itself and cannot wait "
    "for an approval"
)
_BEARER = "bearer "
MAX_TOOLS = 1_000
"""Tools of a server that one request may name; each becomes an object."""
MAX_HEADERS = 100


def _few(headers: object) -> object:
    if isinstance(headers, dict) and len(headers) > MAX_HEADERS:
        raise PydanticCustomError("too_many_headers", "must have at most {limit} headers", {"limit": MAX_HEADERS})
    return headers


Names = Annotated[Each[str], Field(max_length=MAX_TOOLS)]
Headers = Annotated[dict[str, str], BeforeValidator(_few)]
"""Counted before they are validated, which holds the GIL to its end."""


class ToolFilter(Accepted):
    """Tools by name. read_only: tools annotated as such by their server, which only OpenAI can look up."""

    tool_names: Names | None = None
    read_only: bool | None = None


class Approval(Accepted):
    """Tools that always or never need an approval."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


class McpTool(Accepted):
    """MCP server whose tools the model may call."""

    type: Literal["mcp"]
    server_label: str = Field(min_length=1, max_length=256)
    server_url: str | None = None
    connector_id: str | None = None
    tunnel_id: str | None = None
    authorization: str | None = None
    headers: Headers | None = None
    allowed_tools: Names | ToolFilter | None = None
    require_approval: Literal["always", "never"] | Approval | None = None
    server_description: str | None = None
    defer_loading: bool | None = None
    allowed_callers: Names | None = None


def add_server(tools: ServerTools, tool: McpTool, *, field: str, ignored: IgnoredFields) -> None:
    """Add an MCP server with its toolset. field: path of the tool.

    Raises ProxyError: INVALID_REQUEST for what would call other tools than the client allows, or without its
    credentials; FORBIDDEN for a host that the key may not use.
    """
    if tool.server_label in tools.servers:
        raise invalid_field(f"{field}.server_label", "another MCP tool has the same label")
    server = {"type": "url", "name": tool.server_label, "url": _address(tool, field)} | _authorization(tool, field)
    toolset = {"type": "mcp_toolset", "mcp_server_name": tool.server_label} | _configuration(tool, field, ignored)
    if tools.offer.no_mcp:
        raise invalid_field(f"{field}.type", f"MCP servers are not available: {tools.offer.no_mcp}")
    check_mcp_url(tools.offer.mcp_hosts, tool.server_url, f"{field}.server_url")
    if tool.server_description:
        ignored.add(f"{field}.server_description")
    if tool.defer_loading:
        ignored.add(f"{field}.defer_loading")
    if tool.allowed_callers is not None and "direct" not in tool.allowed_callers:
        ignored.add(f"{field}.allowed_callers", "called directly")
    tools.servers[tool.server_label] = server
    tools.toolsets[tool.server_label] = toolset


def only_tool(toolset: dict[str, Any], name: str, field: str) -> dict[str, Any]:
    """The toolset with this tool only. Raises ProxyError if it does not have the tool."""
    configs = toolset.get("configs")
    if configs is not None and name not in configs:
        raise invalid_field(field, f"no tool named {name!r} is allowed")
    return {**toolset, **_enabled([name])}


def _address(tool: McpTool, field: str) -> str:
    for name in ("connector_id", "tunnel_id"):
        if getattr(tool, name) is not None:
            raise invalid_field(f"{field}.{name}", "exists only at OpenAI: give the address as `server_url`")
    if not tool.server_url:
        raise invalid_field(f"{field}.server_url", "Field required")
    return tool.server_url


def _authorization(tool: McpTool, field: str) -> dict[str, Any]:
    """`authorization_token`, the only header that the upstream sends to a server."""
    token = tool.authorization
    for name, value in (tool.headers or {}).items():
        if name.lower() != "authorization" or value[: len(_BEARER)].lower() != _BEARER:
            raise invalid_field(f"{field}.headers", "cannot be sent to the server, except `Authorization: Bearer`")
        token = token or value
    if not token:
        return {}
    bare = token[len(_BEARER) :].strip() if token[: len(_BEARER)].lower() == _BEARER else token
    return {"authorization_token": bare}


def _configuration(tool: McpTool, field: str, ignored: IgnoredFields) -> dict[str, Any]:
    """Enabled tools of the toolset; empty for all of them."""
    allowed = _allowed_names(tool, field)
    unattended = _names_without_approval(tool, field)
    if unattended is None:
        return {} if allowed is None else _enabled(allowed)
    if allowed is None:
        return _enabled(unattended)
    wanted = set(allowed)
    if not wanted <= set(unattended):
        ignored.add(f"{field}.allowed_tools", "tools that need an approval are not offered")
    return _enabled([name for name in unattended if name in wanted])


def _allowed_names(tool: McpTool, field: str) -> list[str] | None:
    """Names of the allowed tools; None for all."""
    if isinstance(tool.allowed_tools, ToolFilter):
        return _names(tool.allowed_tools, f"{field}.allowed_tools")
    return tool.allowed_tools


def _names_without_approval(tool: McpTool, field: str) -> list[str] | None:
    """Names of the tools that need no approval; None for all.

    Without the field, OpenAI asks for an approval of every call.
    """
    field = f"{field}.require_approval"
    if tool.require_approval == "never":
        return None
    if not isinstance(tool.require_approval, Approval) or tool.require_approval.never is None:
        raise invalid_field(field, _NO_APPROVALS)
    names = _names(tool.require_approval.never, f"{field}.never")
    if names is None:
        raise invalid_field(field, _NO_APPROVALS)
    always = tool.require_approval.always
    needing = set(_names(always, f"{field}.always") or ()) if always is not None else set()
    return [name for name in names if name not in needing]


def _names(found: ToolFilter, field: str) -> list[str] | None:
    if found.read_only is not None:
        raise invalid_field(f"{field}.read_only", "is not known here: name the tools under `tool_names`")
    return found.tool_names


def _enabled(names: list[str]) -> dict[str, Any]:
    return {"default_config": {"enabled": False}, "configs": {name: {"enabled": True} for name in names}}
