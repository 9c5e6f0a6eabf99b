"""Self-test of the jail: a program in a real one tries what must fail."""

import asyncio
import contextlib
import logging
import platform
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from apiproxy.core.agents import AgentSpec
from apiproxy.engines.agents.folder import AgentFolder
from apiproxy.engines.agents.jail import missing_programs
from apiproxy.engines.agents.launch import AgentLaunch
from apiproxy.engines.agents.seccomp import ARCHITECTURES

logger = logging.getLogger(__name__)

_TIMEOUT_S = 20.0
_MAX_OUTPUT_CHARS = 100_000
_MAX_REASON_CHARS = 300
_MAX_PROCESSES = 12
"""Of the program itself: bubblewrap, the shell, and pipelines."""
_NAMESPACES = ("mnt", "net", "pid", "user", "ipc", "uts")
_AGENT = AgentSpec(slug="self-test", version=0, display_name="Self-test", model="none", tools=("Bash",))
_PROGRAM = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
say canary "$(cat "$CANARY" 2>/dev/null)"
for name in mnt net pid user ipc uts; do say "ns.$name" "$(readlink /proc/self/ns/$name)"; done
while read -r name value _; do case "$name" in Seccomp:|NoNewPrivs:|CapEff:|CapBnd:) say "$name" "$value";; esac; done \
    < /proc/self/status
say listening "$(cat /proc/net/tcp 2>/dev/null | grep -ci ":$PORT_HEX ")"
say processes "$(ls /proc | grep -c '^[0-9]')"
if [ -x /bin/bash ]; then say connected "$(bash -c "echo > /dev/tcp/127.0.0.1/$PORT" 2>/dev/null && echo yes)"; fi
write() { touch "$1/.x" 2>/dev/null && echo yes; }
for folder in / /usr /etc /dev /run/agent; do say "written.$folder" "$(write "$folder")"; done
for folder in /workspace /home/agent /tmp; do say "writable.$folder" "$(write "$folder")"; done
say limits "$(ulimit -f) $(ulimit -n) $(ulimit -c)"
"$CLI" --version > /dev/null 2>&1 && say cli runs
say over yes
"""
_USER_NAMESPACES = (
    "Docker: set security_opt seccomp=unconfined, apparmor=unconfined and systempaths=unconfined for the container, or "
    "give it a profile that allows user namespaces. Ubuntu: allow bwrap in AppArmor. Others: "
    "sysctl kernel.unprivileged_userns_clone=1 and user.max_user_namespaces above 0."
)
_REASONS = (
    ("unknown option", "bubblewrap is too old", "Install version 0.7 or newer."),
    ("unrecognized option", "setpriv, prlimit or choom is too old", "Install a newer util-linux (2.33)."),
    ("namespace", "this machine does not allow user namespaces", _USER_NAMESPACES),
    ("uid map", "this machine does not allow user namespaces", _USER_NAMESPACES),
    ("mount", "this machine does not allow mounts in a user namespace", _USER_NAMESPACES),
    (
        "source path",
        "the user of the run cannot reach a file that it needs",
        "Install the gateway in a folder that all users can enter, or run it as an ordinary user.",
    ),
)


_LEAK_HINT = "Check CLAUDE_PROXY_AGENT_PATHS, which must not hold the state folder. Otherwise report this as a flaw."


@dataclass(frozen=True, slots=True)
class JailReport:
    """Result of the self-test. problem: in plain words, empty if the jail holds. hint: remedy."""

    problem: str = ""
    hint: str = ""


class JailTest:
    """The self-test of this process, which runs once. state_dir: must not be readable in the jail."""

    def __init__(self, launch: AgentLaunch, state_dir: Path) -> None:
        self._launch = launch
        self._state_dir = state_dir
        self._task: asyncio.Task[JailReport] | None = None

    async def problem(self) -> str:
        """Why agents cannot have tools here; empty if they can."""
        return (await self.report()).problem

    async def report(self) -> JailReport:
        """Result of the only test, which is started at the first call."""
        if self._task is None:
            self._task = asyncio.create_task(asyncio.to_thread(jail_report, self._launch, self._state_dir))
        report = await asyncio.shield(self._task)
        if report.problem:
            logger.warning("agents.no_jail", extra={"reason": report.problem})
        return report


def jail_report(launch: AgentLaunch, state_dir: Path) -> JailReport:
    """Start a jail and try to get out of it. Takes about a second. Never raises."""
    if sys.platform != "linux":
        return JailReport("jails need Linux")
    if platform.machine() not in ARCHITECTURES:
        return JailReport(f"jails are not available for {platform.machine()} processors")
    if missing := missing_programs():
        packages = "apt-get install bubblewrap util-linux, or the same packages of another distribution."
        return JailReport(f"{' and '.join(missing)} is not installed", packages)
    try:
        completed, expected = _tried(launch, state_dir)
    except subprocess.TimeoutExpired:
        return JailReport(f"the self-test of the jail took more than {_TIMEOUT_S:.0f} s")
    except OSError as error:
        return JailReport(f"the jail cannot be started: {error.strerror or error}")
    found = _parsed(completed.stdout)
    if found.get("over") != "yes":
        return _failed(completed)
    if leaks := list(_leaks(found, expected)):
        return JailReport(
            f"the jail does not hold: {', '.join(leaks)}", "Do not use this machine for agents with tools."
        )
    return JailReport()


def _tried(launch: AgentLaunch, state_dir: Path) -> tuple["subprocess.CompletedProcess[str]", str]:
    """Output of the program in the jail, and the canary's content. Raises OSError, TimeoutExpired."""
    name, content = secrets.token_hex(8), secrets.token_hex(16)
    user = launch.take_user(_AGENT)
    canary = state_dir / f"canary-{name}"
    folder = None
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        canary.write_text(content)
        canary.chmod(0o644)  # only the jail itself is to protect it
        folder = AgentFolder.create(launch.folders, f"test-{name}", uid=None if user is None else user.uid)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            jail = launch.jail(_AGENT, folder)
            assert jail is not None
            completed = subprocess.run(  # noqa: S603 - the jail's own command
                jail.command(["/bin/sh", "-c", _PROGRAM]),
                env={
                    "PATH": "/usr/bin:/bin",
                    "HOME": "/home/agent",
                    "CANARY": str(canary),
                    "CLI": "/run/agent/claude",
                    "PORT": str(port),
                    "PORT_HEX": f"{port:04X}",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                cwd="/",
                timeout=_TIMEOUT_S,
                check=False,
            )
        return completed, content
    finally:
        with contextlib.suppress(OSError):
            canary.unlink(missing_ok=True)
        if folder is not None:
            folder.remove()
        if user is not None:
            user.release()


def _parsed(output: str) -> dict[str, str]:
    lines = (line.partition("=") for line in output[:_MAX_OUTPUT_CHARS].splitlines())
    return {name: value.strip() for name, _, value in lines}


def _leaks(found: Mapping[str, str], canary: str) -> Iterator[str]:
    """Things that the program could do and must not, or lacked, in plain words."""
    if canary in found.get("canary", ""):
        yield "it can read the state folder"
    for name in _NAMESPACES:
        if found.get(f"ns.{name}", "") in ("", str(Path(f"/proc/self/ns/{name}").readlink())):
            yield f"it has no {name} namespace of its own"
    if found.get("listening") != "0" or found.get("connected"):
        yield "it can reach loopback addresses of the machine"
    if _number(found.get("processes")) > _MAX_PROCESSES:
        yield "it can see processes of the machine"
    yield from _weaknesses(found)
    for name, value in found.items():
        action, _, folder = name.partition(".")
        if action == "written" and value:
            yield f"it can write to {folder}"
        elif action == "writable" and not value:
            yield f"it cannot write to {folder}"
    if found.get("cli") != "runs":
        yield "the CLI does not run in it"


def _weaknesses(found: Mapping[str, str]) -> Iterator[str]:
    if found.get("Seccomp:") != "2" or found.get("NoNewPrivs:") != "1":
        yield "the seccomp filter is not in force"
    if {found.get("CapEff:"), found.get("CapBnd:")} != {"0" * 16}:
        yield "it has capabilities"
    size, *others = found.get("limits", "").split() or [""]
    if not size.isdecimal() or others != ["1024", "0"]:
        yield "the limits of files are not in force"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else _MAX_PROCESSES + 1


def _failed(completed: "subprocess.CompletedProcess[str]") -> JailReport:
    """Report of a jail that did not start."""
    text = " ".join(completed.stderr.split())[-_MAX_REASON_CHARS:]
    for sign, problem, hint in _REASONS:
        if sign in text.lower():
            return JailReport(f"{problem} ({text})", hint)
    return JailReport(f"the jail cannot be started ({text or f'exit code {completed.returncode}'})")
