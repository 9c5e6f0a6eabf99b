"""Place of a worker: its folder, user, socket and, if its agent needs one, its jail."""

import asyncio
import contextlib
from pathlib import Path

from apiproxy.core.agents import AgentSpec
from apiproxy.engines.agents.folder import AgentFolder, RunUser
from apiproxy.engines.agents.launch import AgentLaunch, AgentProcess, agent_process
from apiproxy.engines.agents.relay import Relay, RelaySocket
from apiproxy.engines.agents.watch import Exceeded, JailWatch, WatchedJail


class Place:
    """Everything that a worker has outside its process. Make it with `Places.make`."""

    def __init__(
        self, *, folder: AgentFolder, user: RunUser | None, socket: RelaySocket, process: AgentProcess, places: "Places"
    ) -> None:
        self.socket = socket
        self._folder = folder
        self._user = user
        self._process = process
        self._places = places
        self._watched: WatchedJail | None = None

    @property
    def command(self) -> list[str]:
        return self._process.command

    @property
    def env(self) -> dict[str, str]:
        return self._process.environment

    @property
    def working_folder(self) -> Path:
        return self._process.working_folder

    @property
    def exceeded(self) -> str:
        """Limit for which the process was killed, in words; empty if it was not."""
        return "" if self._watched is None else self._watched.exceeded or ""

    @property
    def memory_bytes(self) -> int | None:
        """Memory of the whole jail, None without one."""
        return None if self._watched is None else self._places.watch.memory_bytes(self._watched)

    def watch(self, pid: int, agent: AgentSpec) -> None:
        """Watch the limits of the process, if it is a jail."""
        if agent.jailed:
            self._watched = self._places.watch.add(pid, self._places.launch.limits, _ignored)

    async def remove(self) -> None:
        """Close the socket and delete the folder. The process must have ended."""
        if self._watched is not None:
            self._places.watch.remove(self._watched)
        await self.socket.close()
        await asyncio.to_thread(self._folder.remove)
        if self._user is not None:
            self._user.release()


def _ignored(_: Exceeded) -> None:
    """Not needed: the end of the process is noticed anyway."""


class Places:
    """Makes the places of workers."""

    def __init__(self, *, launch: AgentLaunch, relay: Relay, watch: JailWatch) -> None:
        self.launch = launch
        self.watch = watch
        self._relay = relay

    async def make(self, agent: AgentSpec, name: str) -> Place:
        """Make the place of a worker. Raises OSError."""
        async with contextlib.AsyncExitStack() as undo:
            user = self.launch.take_user(agent)
            if user is not None:
                undo.callback(user.release)
            folder = AgentFolder.create(self.launch.folders, name, uid=None if user is None else user.uid)
            undo.callback(folder.remove)
            socket = await self._relay.open(folder.socket, uid=folder.uid)
            undo.push_async_callback(socket.close)
            process = agent_process(self.launch, agent, folder, token=socket.token)
            undo.pop_all()
        return Place(folder=folder, user=user, socket=socket, process=process, places=self)
