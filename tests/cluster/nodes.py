"""Two nodes of two processes each, on one PostgreSQL database and one Redis."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess

KEYS: Mapping[str, Mapping[str, object]] = {
    "operator": {"scopes": ["api", "admin"]},
    "load": {},
    "few": {"concurrent_runs": 2},
    "revoked": {},
}
_SMALL = {
    "CLAUDE_PROXY_PROCESSES": "2",
    "CLAUDE_PROXY_WARM_WORKERS": "1",
    "CLAUDE_PROXY_MAX_CONCURRENT": "2",
    "CLAUDE_PROXY_SECRET_KEY": "the same on all nodes",
}


class Node:
    """A supervisor with its processes."""

    def __init__(self, name: str, folder: Path, *, upstream: str, env: Mapping[str, str]) -> None:
        self.name = name
        self.secrets: Mapping[str, str] = {}
        self.password = ""
        self.gateway = GatewayProcess(folder, upstream=upstream, env={**_SMALL, "CLAUDE_PROXY_NODE": name, **env})

    @property
    def url(self) -> str:
        return self.gateway.base_url

    def get(self, path: str, key: str = "operator") -> Any:
        headers = {"x-api-key": self.secrets[key]}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30).raise_for_status().json()

    def post(self, path: str, key: str = "operator", **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", headers={"x-api-key": self.secrets[key]}, json=body, timeout=60)

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels, as reported by this node."""
        text = httpx.get(f"{self.url}/metrics", headers={"x-api-key": self.secrets["operator"]}, timeout=30).text
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


class Hanging(threading.Thread):
    """Endless streamed request. id: request id, set when the response starts."""

    def __init__(self, node: Node, key: str, prompt: str) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._key = key
        self._prompt = prompt
        self.begun = threading.Event()
        self.id = ""
        self.text = ""
        self.failure: httpx.TransportError | None = None

    def run(self) -> None:
        body = {"model": "claude-sonnet-5", "max_tokens": 20, "stream": True}
        message = {"role": "user", "content": self._prompt}
        headers = {"x-api-key": self._node.secrets[self._key]}
        url = f"{self._node.url}/v1/messages"
        try:
            with httpx.stream(
                "POST", url, json=body | {"messages": [message]}, headers=headers, timeout=90
            ) as response:
                self.id = response.headers["request-id"]
                for piece in response.iter_text():
                    self.text += piece
                    self.begun.set()
        except httpx.TransportError as error:
            self.failure = error

    def wait_for_begin(self) -> "Hanging":
        self.start()
        assert self.begun.wait(60)
        return self


def secrets_of(node: Node) -> Mapping[str, str]:
    """Create API keys in the nodes' database."""
    return make_keys(node.gateway, KEYS)
