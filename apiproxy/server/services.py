"""Background services of the server itself."""

import asyncio
from collections.abc import Callable

from apiproxy import standin
from apiproxy.conf import Credential
from apiproxy.db.sqlite_file import database_file
from apiproxy.runs.runtime import Runtime

_FILE_CHECK_S = 1.0
_DEMO_PACE_S = 0.02


class DemoUpstream:
    """The stand-in upstream of a demo. It listens at once, so that its address is known before it starts."""

    def __init__(self) -> None:
        self._server: standin.StandInServer | None = None
        self._listener = standin.listen()
        host, port = self._listener.getsockname()
        url = f"http://{host}:{port}"
        env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "demo"}
        self.credential = Credential(kind="demo", env=env, base_url=url)

    async def start(self) -> None:
        self._server = await standin.start(pace_s=_DEMO_PACE_S, listener=self._listener)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()
        self._listener.close()


class DatabaseFileWatch:
    """Checks the SQLite file regularly: /readyz and the log report a lost one without a request that needs it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        database_file.watch()
        self._task = asyncio.create_task(self._run(), name="database file watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_FILE_CHECK_S)
            await asyncio.to_thread(database_file.lost)


class WorkerPool:
    """Starts the first workers, and drains the runtime at the stop. drain_s: overrides the drain timeout."""

    def __init__(self, runtime: Runtime, *, drain_s: Callable[[], float | None]) -> None:
        self._runtime = runtime
        self._drain_s = drain_s
        self.warm = False
        """True if a worker could be started."""

    async def start(self) -> None:
        self.warm = await self._runtime.engines.warm()

    async def stop(self) -> None:
        await self._runtime.drain(self._drain_s())
