"""Tools of an MCP server as an agent is offered them: those allowed, in bounded number and size. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_types import Tool

from apiproxy.core.json_encoding import dumps
from apiproxy.core.name_patterns import matches_pattern

MAX_TOOLS = 128
MAX_DESCRIPTION_CHARS = 20_000
MAX_SCHEMA_BYTES = 64 * 1024
MAX_OFFER_BYTES = 1024 * 1024
"""Of all tools of a server, which go to the model with every call."""
MAX_NAME_CHARS = 100
_CUT = " … (cut off by the gateway)"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool:
    """A tool of an MCP server. read_only: the server says that it changes nothing, so calls may run side by side."""

    name: str
    description: str = ""
    input_schema: dict[str, Any] = field(default_factory=dict, hash=False)
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """Tools of a server that an agent may use. left_out: names of allowed ones that cannot be offered, and why."""

    tools: tuple[McpTool, ...]
    left_out: tuple[str, ...] = ()


def offer_of(listed: Iterable[Tool], *, allowed: Sequence[str]) -> Offer:
    """The allowed tools of a server's list. allowed: names in which `*` stands for any characters."""
    tools: dict[str, McpTool] = {}
    left_out: list[str] = []
    size = 0
    for tool in listed:
        name = tool.name[:MAX_NAME_CHARS]
        if not any(matches_pattern(pattern, name) for pattern in allowed):
            continue
        offered = _offered(tool)
        schema_bytes = len(dumps(offered.input_schema))
        problem = _problem(tool, tools, schema_bytes)
        size += 0 if problem else schema_bytes + len(offered.description)
        if problem is None and size > MAX_OFFER_BYTES:
            problem = f"the server's tools have more than {MAX_OFFER_BYTES} bytes"
        if problem is None:
            tools[tool.name] = offered
        elif len(left_out) < MAX_TOOLS:
            left_out.append(f"{name}: {problem}")
    return Offer(tuple(tools.values()), tuple(left_out))


def _offered(tool: Tool) -> McpTool:
    annotations = tool.annotations
    return McpTool(
        name=tool.name,
        description=_bounded(tool.description or ""),
        input_schema=dict(tool.input_schema),
        read_only=annotations is not None and annotations.read_only_hint is True,
    )


def _problem(tool: Tool, tools: Mapping[str, McpTool], schema_bytes: int) -> str | None:
    """Why a tool cannot be offered."""
    if len(tools) >= MAX_TOOLS:
        return f"an agent can use {MAX_TOOLS} tools of a server"
    if not tool.name or len(tool.name) > MAX_NAME_CHARS:
        return f"its name is empty or has more than {MAX_NAME_CHARS} characters"
    if tool.name in tools:
        return "its name is there twice"
    if schema_bytes > MAX_SCHEMA_BYTES:
        return f"its schema has more than {MAX_SCHEMA_BYTES} bytes"
    return None


def _bounded(description: str) -> str:
    if len(description) <= MAX_DESCRIPTION_CHARS:
        return description
    return description[:MAX_DESCRIPTION_CHARS] + _CUT
