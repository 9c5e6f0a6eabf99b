"""Last results of this process's MCP servers, as operators see them. The agents' engine reports them."""

import time
from dataclasses import dataclass

from apiproxy.core.agents import McpTransport
from apiproxy.core.text import storable

MAX_SERVERS = 200
MAX_TOOLS = 200
_MAX_NAME_CHARS = 200
_MAX_ERROR_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerStatus:
    """An MCP server. at: Unix time of the last result. error: empty if that was a success.

    last_error, last_error_at: of the last failure, which a later success does not clear. tools: names that the server
    offered last.
    """

    name: str
    transport: McpTransport
    at: float
    error: str = ""
    last_error: str = ""
    last_error_at: float | None = None
    tools: tuple[str, ...] = ()


class McpStatuses:
    """Status of each MCP server that was used, by name; at most `MAX_SERVERS`, of which the oldest results go first.

    Texts are shown to operators: an error must be in the gateway's words, without the address or credentials of the
    server.
    """

    def __init__(self) -> None:
        self._servers: dict[str, McpServerStatus] = {}

    def connected(self, name: str, *, transport: McpTransport, tools: tuple[str, ...]) -> None:
        """The server was connected and listed these tools."""
        before = self._servers.get(name)
        self._put(
            name,
            McpServerStatus(
                name=storable(name, _MAX_NAME_CHARS),
                transport=transport,
                at=time.time(),
                last_error="" if before is None else before.last_error,
                last_error_at=None if before is None else before.last_error_at,
                tools=tuple(storable(tool, _MAX_NAME_CHARS) for tool in tools[:MAX_TOOLS]),
            ),
        )

    def failed(self, name: str, *, transport: McpTransport, error: str) -> None:
        """The server could not be connected, did not list its tools, or was lost."""
        before, now, text = self._servers.get(name), time.time(), storable(error, _MAX_ERROR_CHARS) or "failed"
        self._put(
            name,
            McpServerStatus(
                name=storable(name, _MAX_NAME_CHARS),
                transport=transport,
                at=now,
                error=text,
                last_error=text,
                last_error_at=now,
                tools=() if before is None else before.tools,
            ),
        )

    def snapshot(self) -> list[McpServerStatus]:
        """All servers by name."""
        return sorted(self._servers.values(), key=lambda status: status.name)

    def _put(self, name: str, status: McpServerStatus) -> None:
        self._servers.pop(name, None)
        if len(self._servers) >= MAX_SERVERS:
            del self._servers[next(iter(self._servers))]
        self._servers[name] = status
