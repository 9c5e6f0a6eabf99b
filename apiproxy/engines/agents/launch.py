"""Launch of an agent's worker: flags, environment (an allow-list), files and jail.

Nothing of a request is in arguments or environment: workers are started before there is one, and both can be read by
other programs. The system prompt and the MCP servers, which may hold secrets, are files of the run.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apiproxy.core.agents import FULL_TOOLS, AgentSpec, McpServerSpec
from apiproxy.core.json_encoding import dumps
from apiproxy.core.parent_death import parent_death_prefix
from apiproxy.engines.agents.folder import AgentFolder, RunUser
from apiproxy.engines.agents.jail import HOME, JAILED_CLI, JAILED_FILES, Jail, JailLimits

_PROMPT_FILE = "system.txt"
_SERVERS_FILE = "mcp.json"
_BASE_URL = "http://gateway.invalid"
"""With https the CLI would speak TLS into the socket; the name api.anthropic.com would change its requests."""
_FLAGS = (
    *("--output-format", "stream-json", "--verbose", "--input-format", "stream-json", "--include-partial-messages"),
    *("--setting-sources=", "--strict-mcp-config", "--no-session-persistence", "--permission-mode", "dontAsk"),
    "--restricted",
)
_FULL_FLAGS = ("--system-prompt-snapshot", "off", "--settings", '{"attribution":{"commit":"","pr":""}}')
_SWITCHES = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",  # else a cut stream is retried without streaming
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",
    "CLAUDE_CODE_EFFORT_LEVEL": "unset",  # the overlay sets it, like thinking
    "CLAUDE_CODE_DISABLE_THINKING": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # background agents would outlive the result
    "CLAUDE_CODE_DISABLE_CRON": "1",
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    "CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT": "1",
    "CLAUDE_CODE_MCP_ALLOWLIST_ENV": "1",  # stdio servers get no token
    "CLAUDE_CODE_MAX_MCP_DESCRIPTION_LENGTH": "100000",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE": "1",
    "ENABLE_TOOL_SEARCH": "0",
    "DISABLE_AUTO_COMPACT": "1",
    "DISABLE_COMPACT": "1",
    "MCP_TIMEOUT": "5000",
    "MAX_MCP_OUTPUT_TOKENS": "100000",  # the gateway's own limit is lower; for half of this the CLI counts tokens first
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000",  # any value; else a failed call with a larger max_tokens is sent again
    "BASH_DEFAULT_TIMEOUT_MS": "120000",
    "BUN_GC_TIMER_DISABLE": "1",
}
_MAX_RETRIES = 2
"""More would let a run wait for an overloaded upstream for minutes."""
_STALL_MARGIN_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLaunch:
    """Launch settings of all agents' workers of this process.

    cli: executable. folders: parent of the runs' folders. limits: of jails. readable: folders of the machine that can
    be read in jails. uids: range of users for jailed runs if the gateway is root. upstream_retries: by the CLI, at
    most 2. stall_timeout_ms: the gateway's.
    """

    cli: Path
    folders: Path
    limits: JailLimits = field(default_factory=JailLimits)
    readable: tuple[Path, ...] = ()
    uids: tuple[int, int] = (65_000, 65_499)
    upstream_retries: int = 1
    stall_timeout_ms: int = 120_000

    def take_user(self, agent: AgentSpec) -> RunUser | None:
        """User for a new run: one of its own if the gateway is root and the run is jailed. Raises OSError."""
        return RunUser.take(*self.uids) if agent.jailed and os.geteuid() == 0 else None

    def jail(self, agent: AgentSpec, folder: AgentFolder) -> Jail | None:
        """Jail of a run in that folder, None for an agent that needs none."""
        if not agent.jailed:
            return None
        return Jail(folder=folder, cli=self.cli, limits=self.limits, readable=self.readable)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProcess:
    """Command, environment and working folder of a worker."""

    command: list[str]
    environment: dict[str, str] = field(repr=False)
    working_folder: Path


def agent_process(launch: AgentLaunch, agent: AgentSpec, folder: AgentFolder, *, token: str) -> AgentProcess:
    """Write the files of a worker, whose relay listens at `folder.socket`, and return how to start it.

    token: the run's. Raises OSError.
    """
    folder.write(_PROMPT_FILE, agent.system.encode())
    folder.write(_SERVERS_FILE, dumps({"mcpServers": {server.name: _server(server) for server in agent.mcp_servers}}))
    jail = launch.jail(agent, folder)
    environment = agent_environment(launch, agent, folder, token=token)
    if jail is None:
        command = [*parent_death_prefix(), str(launch.cli), *agent_flags(agent, files=str(folder.path))]
        return AgentProcess(command=command, environment=environment, working_folder=folder.subfolder("workspace"))
    files = (_PROMPT_FILE, _SERVERS_FILE, folder.socket.name)
    command = jail.command([JAILED_CLI, *agent_flags(agent, files=JAILED_FILES)], files=files)
    return AgentProcess(command=command, environment=environment, working_folder=Path("/"))


def agent_flags(agent: AgentSpec, *, files: str) -> list[str]:
    """Arguments of the CLI. files: folder of the run's files, as the CLI sees it."""
    flags = [*_FLAGS, *(_FULL_FLAGS if _is_full(agent) else ("--bare",))]
    flags += ["--tools", ",".join(agent.tools), "--model", cli_model(agent), "--max-turns", str(agent.max_calls)]
    if allowed := [*agent.tools, *(rule for server in agent.mcp_servers for rule in _rules(server))]:
        flags += ["--allowedTools", ",".join(allowed)]
    if agent.output_schema is not None:
        flags += ["--json-schema", dumps(agent.output_schema).decode()]
    return [*flags, "--system-prompt-file", f"{files}/{_PROMPT_FILE}", "--mcp-config", f"{files}/{_SERVERS_FILE}"]


def cli_model(agent: AgentSpec) -> str:
    """Model that the CLI is started with. The overlay sets the real one.

    For an id that it knows, the CLI changes requests (docs/decisions/0005-one-pool.md). In full mode it tells the model
    who it is, and has to know.
    """
    return agent.model if _is_full(agent) else "claude-gateway"


def agent_environment(launch: AgentLaunch, agent: AgentSpec, folder: AgentFolder, *, token: str) -> dict[str, str]:
    """Whole environment of a worker: nothing of the gateway's own."""
    duration_ms = agent.max_duration_s * 1_000
    return {
        **_SWITCHES,
        **(_jailed_places(folder) if agent.jailed else _plain_places(folder)),
        "ANTHROPIC_BASE_URL": _BASE_URL,
        "ANTHROPIC_API_KEY": token,
        "CLAUDE_CODE_MAX_RETRIES": str(min(launch.upstream_retries, _MAX_RETRIES)),
        "API_TIMEOUT_MS": str(duration_ms),
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(launch.stall_timeout_ms + _STALL_MARGIN_MS),
        "MCP_TOOL_TIMEOUT": str(duration_ms),
        "BASH_MAX_TIMEOUT_MS": str(duration_ms),
        "LANG": "C.UTF-8",
    }


def _is_full(agent: AgentSpec) -> bool:
    return any(tool in FULL_TOOLS for tool in agent.tools)


def _jailed_places(folder: AgentFolder) -> Mapping[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": HOME,
        "CLAUDE_CONFIG_DIR": f"{HOME}/config",
        "TMPDIR": "/tmp",  # noqa: S108
        "ANTHROPIC_UNIX_SOCKET": f"{JAILED_FILES}/{folder.socket.name}",
    }


def _plain_places(folder: AgentFolder) -> Mapping[str, str]:
    return {
        "PATH": str(folder.subfolder("empty")),  # it finds no program to start
        "HOME": str(folder.subfolder("home")),
        "CLAUDE_CONFIG_DIR": str(folder.subfolder("config")),
        "TMPDIR": str(folder.subfolder("tmp")),
        "ANTHROPIC_UNIX_SOCKET": f"../{folder.socket.name}",  # from the working folder; paths of sockets are short
    }


def _server(server: McpServerSpec) -> dict[str, Any]:
    """Entry of the CLI's configuration. Remote servers are the gateway's own, offered over the control protocol."""
    if server.transport != "stdio":
        return {"type": "sdk", "name": server.name}
    return {"type": "stdio", "command": server.command, "args": list(server.args), "env": dict(server.env)}


def _rules(server: McpServerSpec) -> Sequence[str]:
    """Permission rules: the whole server if the gateway filters its tools or all are allowed."""
    whole = f"mcp__{server.name}"
    if server.transport != "stdio" or "*" in server.allowed_tools:
        return (whole,)
    return tuple(f"{whole}__{pattern}" for pattern in server.allowed_tools)
