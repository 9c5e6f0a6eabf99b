"""Agents: models defined by the administrator that run a prompt with tools in a loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, get_args

McpTransport = Literal["http", "sse", "stdio"]
ToolCallDisplay = Literal["all", "names", "none"]

TOOL_CALL_DISPLAYS: tuple[ToolCallDisplay, ...] = get_args(ToolCallDisplay)
BARE_TOOLS = ("Bash", "Read", "Edit")
"""Built-in tools that the CLI offers with `--bare`."""
FULL_TOOLS = ("Write", "Glob", "Grep")
"""Built-in tools that the CLI offers only without `--bare`; the CLI then adds about 1 KB of text to the prompt."""
BUILT_IN_SERVER = "agent"
"""`server_name` of built-in tools in responses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerSpec:
    """An MCP server of an agent.

    url, headers: of http and sse. command, args, env: of stdio; the command runs in the jail. allowed_tools: patterns
    with `*`. required: without it, a run fails; otherwise the run goes on without its tools.
    """

    name: str
    transport: McpTransport
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    allowed_tools: tuple[str, ...] = ("*",)
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """A version of an agent.

    model: id at the upstream. tools: built-in ones. max_calls: model calls per run. budget_usd: per run, None for no
    budget of its own. output_schema: JSON schema of the answer. show_tool_calls: what clients see of them: everything,
    their names, or nothing. allow_client_system: the client's system prompt follows the agent's. min_idle: workers kept
    ready for it.
    """

    slug: str
    version: int
    display_name: str
    model: str
    description: str = ""
    system: str = ""
    effort: str | None = None
    thinking: Mapping[str, Any] | None = field(default=None, hash=False)
    mcp_servers: tuple[McpServerSpec, ...] = field(default=(), hash=False)
    tools: tuple[str, ...] = ()
    max_calls: int = 12
    budget_usd: Decimal | None = None
    max_duration_s: int = 300
    output_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    show_tool_calls: ToolCallDisplay = "all"
    allow_client_system: bool = False
    min_idle: int = 0

    @property
    def name(self) -> str:
        """`slug@version`, as in headers and traces."""
        return f"{self.slug}@{self.version}"

    @property
    def jailed(self) -> bool:
        """True if a run may execute programs, which needs the jail."""
        return bool(self.tools) or any(server.transport == "stdio" for server in self.mcp_servers)
