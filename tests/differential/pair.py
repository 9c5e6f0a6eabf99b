"""Two gateways in front of one stand-in, one for each engine, and the same request through both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from apiproxy.core.turns import ENGINES
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.upstream import Exchange

_SETTINGS = {
    "CLAUDE_PROXY_MAX_CONCURRENT": "2",
    "CLAUDE_PROXY_WARM_WORKERS": "1",
    "CLAUDE_PROXY_UPSTREAM_RETRIES": "0",
}
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Side:
    """One engine's handling of a request. exchanges: its upstream requests."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    exchanges: list[Exchange]

    @property
    def upstream(self) -> Exchange:
        """The only upstream request."""
        assert len(self.exchanges) == 1, (
            f"{len(self.exchanges)} upstream requests: {self.status} {self.content[:300]!r}"
        )
        return self.exchanges[0]

    @property
    def json(self) -> Any:
        """The body of an answer that is not a stream."""
        return json.loads(self.content)

    @property
    def events(self) -> list[Event]:
        """The data of a stream's events."""
        assert self.headers["content-type"].startswith("text/event-stream"), self.content
        frames = self.content.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n\n")
        lines = [[line[5:].lstrip() for line in frame.split("\n") if line.startswith("data:")] for frame in frames]
        return [_parsed("\n".join(data)) for data in lines if data]

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")


@dataclass(frozen=True, slots=True)
class Both:
    """The same request through both engines."""

    sdk: Side
    http: Side


class Pair:
    """A running gateway for each engine, in front of the same stand-in."""

    def __init__(self, folder: Path, stand_in: StandInProcess) -> None:
        self._stand_in = stand_in
        self._gateways: dict[str, GatewayProcess] = {}
        self._clients: dict[str, httpx.Client] = {}
        for engine in ENGINES:
            (folder / engine).mkdir()
            gateway = GatewayProcess(
                folder / engine, upstream=stand_in.base_url, env={**_SETTINGS, "CLAUDE_PROXY_ENGINE": engine}
            )
            self._gateways[engine] = gateway.start()
            self._clients[engine] = gateway.http()

    def send(
        self,
        body: Mapping[str, Any] | bytes,
        *,
        mark: str,
        path: str = "/v1/messages",
        headers: Mapping[str, str] | None = None,
    ) -> Both:
        """Send a request through both engines. mark: a text in it that no other request has."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sides, seen = [], 0
        for engine in ENGINES:
            response = self._clients[engine].post(
                path, content=content, headers={"content-type": "application/json", **(headers or {})}
            )
            exchanges = self._stand_in.recorded(containing=mark)
            sides.append(Side(response.status_code, dict(response.headers), response.content, exchanges[seen:]))
            seen = len(exchanges)
        return Both(*sides)

    def gateway(self, engine: str) -> GatewayProcess:
        """The gateway of an engine."""
        return self._gateways[engine]

    def stop(self) -> None:
        """End both."""
        for client in self._clients.values():
            client.close()
        for gateway in self._gateways.values():
            gateway.stop()


def _parsed(data: str) -> Event:
    try:
        return dict(json.loads(data))
    except ValueError:
        return {"type": "not an event", "data": data}
