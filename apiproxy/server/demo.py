"""Upstream of a demo, started and stopped with the server."""

from apiproxy import standin
from apiproxy.conf import Credential

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
