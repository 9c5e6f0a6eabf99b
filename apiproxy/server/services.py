"""Background services of the server itself."""

from collections.abc import Callable

from apiproxy import standin
from apiproxy.conf import Credential
from apiproxy.runs.runtime import Runtime

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
