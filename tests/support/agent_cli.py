"""An agent's CLI in its folder, behind its relay, driven by hand; and commands in the jail of such a run."""

import asyncio
import contextlib
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from apiproxy.core.agents import AgentSpec
from apiproxy.engines.agents.folder import AgentFolder, agent_folders
from apiproxy.engines.agents.jail import Jail, JailLimits, child_pids, kill_jail
from apiproxy.engines.agents.launch import AgentLaunch, agent_process
from apiproxy.engines.agents.parameters import overlay_of, overlay_settings
from apiproxy.engines.agents.relay import Relay, RelaySocket
from apiproxy.engines.http.upstream import Upstream
from apiproxy.engines.sdk.launch import bundled_cli
from tests.engines.agents.support import Metered, metered

KEY = "sk-operators-real-key"
_RESULT_S = 60.0
_END_S = 5.0
Line = dict[str, Any]


@dataclass
class AgentRun:
    """A run whose socket is open. process: the CLI, once it was started."""

    launch: AgentLaunch
    agent: AgentSpec
    folder: AgentFolder
    socket: RelaySocket
    metered: Metered
    process: asyncio.subprocess.Process | None = None
    lines: list[Line] = field(default_factory=list)

    @property
    def jail(self) -> Jail:
        jail = self.launch.jail(self.agent, self.folder)
        assert jail is not None
        return jail

    async def start(self) -> None:
        """Start the CLI and wait until it is ready."""
        started = agent_process(self.launch, self.agent, self.folder, token=self.socket.token)
        self.process = await asyncio.create_subprocess_exec(
            *started.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=started.environment,
            cwd=started.working_folder,
            limit=2**26,
        )
        await self._control("initialize", hooks=None)
        await self._control("apply_flag_settings", settings=overlay_settings(overlay_of({}, self.agent)))

    async def ask(self, prompt: str) -> list[Line]:
        """Send a prompt; the lines up to its result."""
        message = {"role": "user", "content": prompt}
        begin = len(self.lines)
        await self._write(
            {
                "type": "user",
                "message": message,
                "parent_tool_use_id": None,
                "session_id": "",
                "uuid": str(uuid.uuid4()),
            }
        )
        await self._until("result")
        return self.lines[begin:]

    async def run(
        self, *command: str, files: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a command in a jail of this run; its exit code and output."""
        process = await self.spawn(*command, files=files, environment=environment)
        try:
            async with asyncio.timeout(_RESULT_S):
                output, _ = await process.communicate()
        finally:
            await end(process)
        assert process.returncode is not None
        return process.returncode, output.decode(errors="replace")

    async def spawn(
        self, *command: str, files: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """Start a command in a jail of this run, its output on a pipe."""
        env = {"PATH": "/usr/bin:/bin", "HOME": "/home/agent", "LANG": "C.UTF-8", **(environment or {})}
        return await asyncio.create_subprocess_exec(
            *self.jail.command(command, files=files),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=env,
            cwd="/",
            limit=2**26,
        )

    async def end(self) -> None:
        """Kill the CLI and remove all that the run has."""
        if self.process is not None:
            await end(self.process)
        await self.socket.close()
        self.folder.remove()

    async def _control(self, subtype: str, **fields: Any) -> None:
        request = {"subtype": subtype, **fields}
        await self._write({"type": "control_request", "request_id": subtype, "request": request})
        await self._until("control_response")

    async def _write(self, line: Line) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(orjson.dumps(line) + b"\n")
        await self.process.stdin.drain()

    async def _until(self, kind: str) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(_RESULT_S):
            while raw := await self.process.stdout.readline():
                self.lines.append(orjson.loads(raw))
                if self.lines[-1]["type"] == kind:
                    return
        raise AssertionError(f"the CLI ended: {self.lines[-3:]}")


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a jail."""
    if process.returncode is None:
        kill_jail(process.pid)
    async with asyncio.timeout(_END_S):
        await process.wait()


@contextlib.asynccontextmanager
async def agent_run(
    base_url: str, state: Path, *, limits: JailLimits | None = None, **fields: Any
) -> AsyncIterator[AgentRun]:
    """A run of an agent against that upstream. fields: of the agent, by default with Bash and Read."""
    run = metered(**{"tools": ("Bash", "Read"), **fields})
    agent = run.meter.agent
    upstream = Upstream(base_url, {"ANTHROPIC_API_KEY": KEY}, max_connections=10)
    launch = AgentLaunch(cli=bundled_cli(), folders=agent_folders(state), limits=limits or JailLimits())
    user = launch.take_user(agent)
    folder = AgentFolder.create(launch.folders, secrets.token_hex(4), uid=None if user is None else user.uid)
    socket = await Relay(upstream, max_body_bytes=32_000_000).open(folder.socket, uid=folder.uid)
    socket.bind(run.meter)
    started = AgentRun(launch, agent, folder, socket, run)
    try:
        yield started
    finally:
        await started.end()
        await upstream.close()
        if user is not None:
            user.release()


def descendants(pid: int) -> list[int]:
    """Process ids of all children, and of theirs."""
    return [pid for child in child_pids(pid) for pid in (child, *descendants(child))]


def is_running(pid: int) -> bool:
    """False if the process has ended, even if its parent has not noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
