"""Launch of a worker process: flags, environment (an allow-list) and private folder.

The child inherits only the locale: Django's secrets, DATABASE_URL and an ANTHROPIC_BASE_URL that points back at this
gateway must not reach it. PATH is not inherited either, so the child finds no program to start.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import claude_agent_sdk
import psutil

from apiproxy.core.custom_headers import VARIABLE
from apiproxy.core.parent_death import parent_death_prefix

_FLAGS = (
    *("--output-format", "stream-json", "--verbose", "--input-format", "stream-json", "--include-partial-messages"),
    *("--bare", "--tools", "", "--setting-sources=", "--strict-mcp-config", "--no-session-persistence"),
    *("--max-turns", "1", "--permission-mode", "bypassPermissions"),
    *("--model", "claude-gateway"),  # the overlay sets the real one; for an unknown id the CLI adds nothing
    "--debug-to-stderr",  # with the log level below: the upstream's exact error bodies, and nothing of a prompt
)
_INHERITED = ("LANG", "LC_ALL", "TZ")
_SWITCHES = {
    "IS_SANDBOX": "1",  # bypassPermissions refuses root without it
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_CODE_DEBUG_LOG_LEVEL": "error",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",  # else a 529 is retried for many seconds in silence
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000",  # any value; else a failed request with a larger max_tokens is sent again
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",  # else a cut stream is retried without streaming
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",  # the client's model or its error, never another model's answer
    "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",
    "CLAUDE_CODE_EFFORT_LEVEL": "unset",  # else an effort of the CLI's choice where the client gave none
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "CLAUDE_CODE_DISABLE_THINKING": "1",  # else a budget of 31,999 is on by default; the overlay's own still works
    "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",  # a system line that changes with every request and spoils prompt caching
    "CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": "30",  # tokens: one API call a turn; docs/decisions/0007
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",  # else a repository around the state folder counts for that limit
    "DISABLE_AUTO_COMPACT": "1",  # needed for that limit too: with compaction on, the CLI ignores it
    "DISABLE_COMPACT": "1",
    "BUN_GC_TIMER_DISABLE": "1",  # else it collects garbage while it waits, and the next turn is cold; decision 0013
}
_STALL_MARGIN_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """Launch settings of all workers of this process.

    cli: executable. credential_env: environment variables for the upstream. folders: parent of the workers' folders.
    max_duration_ms, stall_timeout_ms: for the CLI's own timeouts, which must not be shorter than the gateway's.
    """

    cli: Path
    folders: Path
    max_duration_ms: int
    stall_timeout_ms: int
    credential_env: Mapping[str, str] = field(repr=False)

    @property
    def custom_headers(self) -> str:
        """The operator's headers for all upstream requests (`core.custom_headers`)."""
        return self.credential_env.get(VARIABLE, "")

    def command(self) -> list[str]:
        """Argument vector of a worker, without secrets and client data."""
        return [*parent_death_prefix(), str(self.cli), *_FLAGS]

    def environment(self, folder: "WorkerFolder", inherited: Mapping[str, str]) -> dict[str, str]:
        """Complete environment of a worker with this folder."""
        return {
            **{name: inherited[name] for name in _INHERITED if name in inherited},
            **_SWITCHES,
            "API_TIMEOUT_MS": str(self.max_duration_ms),
            "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(self.stall_timeout_ms + _STALL_MARGIN_MS),
            # An empty folder, else the CLI runs `git` at every overlay (docs/decisions/0013). Without the variable it
            # would search /usr/bin.
            "PATH": str(folder.cwd),
            "HOME": str(folder.path),
            "CLAUDE_CONFIG_DIR": str(folder.path / "config"),
            "TMPDIR": str(folder.path / "tmp"),
            **self.credential_env,
        }


@dataclass(frozen=True, slots=True)
class WorkerFolder:
    """Private folder of a worker, with its home, config, temp and working folders."""

    path: Path

    @classmethod
    def create(cls, parent: Path, name: str) -> "WorkerFolder":
        """Create the folder, readable by this user only. Its name starts with this process's id, for `sweep`."""
        path = parent / f"{os.getpid()}-{name}"
        for folder in (path, path / "config", path / "tmp", path / "cwd"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(path)

    @property
    def cwd(self) -> Path:
        """An empty working folder."""
        return self.path / "cwd"

    def remove(self) -> None:
        """Delete the folder and its contents."""
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(parent: Path) -> int:
    """Remove the worker folders of server processes that crashed; returns how many."""
    removed = 0
    for path in parent.glob("*-*") if parent.is_dir() else ():
        owner = path.name.split("-", 1)[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def bundled_cli() -> Path:
    """CLI bundled in the SDK's wheel; raises FileNotFoundError for a wheel without it."""
    cli = Path(claude_agent_sdk.__file__).parent / "_bundled" / ("claude.exe" if os.name == "nt" else "claude")
    if not cli.is_file():
        raise FileNotFoundError(f"claude-agent-sdk has no bundled CLI at {cli}; install a platform wheel of it")
    return cli
