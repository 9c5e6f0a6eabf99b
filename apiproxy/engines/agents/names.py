"""Names of tools: what the CLI offers to the model, and what clients see. Pure."""

import re
from collections.abc import Iterable

from apiproxy.core.agents import BUILT_IN_SERVER

_PREFIX = "mcp__"
_SEPARATOR = "__"
_NOT_OFFERED = re.compile(r"[^a-zA-Z0-9_-]")
MAX_OFFERED_NAME_CHARS = 128
"""The CLI silently leaves out tools with a longer offered name."""


def offered_name(server: str, tool: str) -> str:
    """Name under which the CLI offers a tool of a server; a built-in tool keeps its own."""
    if server == BUILT_IN_SERVER:
        return tool
    return f"{_PREFIX}{normalised(server)}{_SEPARATOR}{normalised(tool)}"


def split_name(offered: str, servers: Iterable[str]) -> tuple[str, str]:
    """Server and tool of an offered name. servers: names of the agent's MCP servers.

    A tool of an unknown server, which only a model that invents names can call, is taken apart at the first `__`.
    """
    if not offered.startswith(_PREFIX):
        return BUILT_IN_SERVER, offered
    rest = offered.removeprefix(_PREFIX)
    for server in sorted(servers, key=len, reverse=True):
        start = normalised(server) + _SEPARATOR
        if rest.startswith(start):
            return server, rest.removeprefix(start)
    server, _, tool = rest.partition(_SEPARATOR)
    return server, tool


def normalised(name: str) -> str:
    """The name with the characters that the CLI replaces."""
    return _NOT_OFFERED.sub("_", name)
