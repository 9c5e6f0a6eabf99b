"""How a worker process is started: its flags, its environment (an allow-list) and its private folder.

The child gets nothing of the server's environment but the locale: Django's secrets, DATABASE_URL and an
ANTHROPIC_BASE_URL that points back at this gateway must not reach it. Nor does PATH, so it finds no program to start.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import claude_agent_sdk
import psutil

from apiproxy.core.parent_death import parent_death_prefix

_FLAGS = (
    *("--output-format", "stream-json", "--verbose", "--input-format", "stream-json", "--include-partial-messages"),
    *("--bare", "--tools", "", "--setting-sources=", "--strict-mcp-config", "--no-session-persistence"),
    *("--max-turns", "1", "--permission-mode", "bypassPermissions"),
    *("--model", "claude-gateway"),  # the overlay names the real one; for an id it does not know the CLI adds nothing
    "--debug-to-stderr",  # with the log level below: the upstream's exact error bodies, and nothing of a prompt
)
_INHERITED = ("LANG", "LC_ALL", "TZ")
_SWITCHES = {
    "IS_SANDBOX": "1",  # bypassPermissions refuses root without it
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_CODE_DEBUG_LOG_LEVEL": "error",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",  # else a 529 is retried for many seconds in silence
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000",  # any value; else errors of a max_tokens above it are asked for twice
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",  # else a cut stream is asked again without stream events
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
    "DISABLE_AUTO_COMPACT": "1",  # needed for it too: with compaction on, the CLI does not look at that limit
    "DISABLE_COMPACT": "1",
    "BUN_GC_TIMER_DISABLE": "1",  # else it collects garbage while it waits, and the next turn is cold; decision 0013
}
_STALL_MARGIN_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """What every worker of this process is started with.

    cli: the executable. credential_env: the upstream's variables. folders: parent of the workers' private folders.
    max_duration_ms and stall_timeout_ms set the CLI's own clocks, which must not strike before the gateway's.
    """

    cli: Path
    folders: Path
    max_duration_ms: int
    stall_timeout_ms: int
    credential_env: Mapping[str, str] = field(repr=False)

    def command(self) -> list[str]:
        """The argument vector of a worker. Holds no secret and no text of a client."""
        return [*parent_death_prefix(), str(self.cli), *_FLAGS]

    def environment(self, folder: "WorkerFolder", inherited: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a worker that lives in this folder."""
        return {
            **{name: inherited[name] for name in _INHERITED if name in inherited},
            **_SWITCHES,
            "API_TIMEOUT_MS": str(self.max_duration_ms),
            "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(self.stall_timeout_ms + _STALL_MARGIN_MS),
            # An empty folder: where there is a `git`, the CLI starts it at every overlay (docs/decisions/0013).
            # Without the variable it would look in /usr/bin.
            "PATH": str(folder.cwd),
            "HOME": str(folder.path),
            "CLAUDE_CONFIG_DIR": str(folder.path / "config"),
            "TMPDIR": str(folder.path / "tmp"),
            **self.credential_env,
        }


@dataclass(frozen=True, slots=True)
class WorkerFolder:
    """A worker's home, config, temp and working folders under one path that goes when the worker goes."""

    path: Path

    @classmethod
    def create(cls, parent: Path, name: str) -> "WorkerFolder":
        """Makes the folder, readable by this user only. Its name starts with this process's id, for `sweep`."""
        path = parent / f"{os.getpid()}-{name}"
        for folder in (path, path / "config", path / "tmp", path / "cwd"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(path)

    @property
    def cwd(self) -> Path:
        """An empty working folder."""
        return self.path / "cwd"

    def remove(self) -> None:
        """Deletes the folder with all that the CLI left in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(parent: Path) -> int:
    """Removes the worker folders whose server process is gone (after a crash); returns how many."""
    removed = 0
    for path in parent.glob("*-*") if parent.is_dir() else ():
        owner = path.name.split("-", 1)[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def bundled_cli() -> Path:
    """The CLI that ships inside the SDK's wheel; FileNotFoundError where the wheel is one without."""
    cli = Path(claude_agent_sdk.__file__).parent / "_bundled" / ("claude.exe" if os.name == "nt" else "claude")
    if not cli.is_file():
        raise FileNotFoundError(f"claude-agent-sdk has no bundled CLI at {cli}; install a platform wheel of it")
    return cli
