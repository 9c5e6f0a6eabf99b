"""Real gateways with limited keys, and concurrent clients."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.gateway import GatewayProcess
from tests.support.processes import ROOT

MODEL = "claude-haiku-4-5"
_COMMAND_S = 120.0


def manage(gateway: GatewayProcess, *arguments: str, expected: int | None = 0) -> str:
    """Output of `manage.py` with the gateway's settings. expected: exit code, None for any."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=gateway._env, capture_output=True, text=True, timeout=_COMMAND_S, check=False,
    )  # fmt: skip
    assert expected in (None, done.returncode), done.stdout + done.stderr
    return done.stdout + done.stderr


_MAKE_KEYS = """
import json, sys
from asgiref.sync import async_to_sync
from apiproxy.keys.cache import create_key
keys = json.loads({keys!r})
print("made", json.dumps({{name: async_to_sync(create_key)(name, **fields)[1] for name, fields in keys.items()}}))
"""


def make_keys(gateway: GatewayProcess, keys: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Create keys in one process, whose start takes most of the time; return their secrets."""
    script = _MAKE_KEYS.format(keys=json.dumps(keys))
    (line,) = [it for it in manage(gateway, "shell", "-c", script).splitlines() if it.startswith("made ")]
    made: dict[str, str] = json.loads(line.removeprefix("made "))
    return made


@dataclass(frozen=True)
class Site:
    """Gateways on one database, and the secrets of its keys by name."""

    gateways: Sequence[GatewayProcess]
    secrets: Mapping[str, str]

    @property
    def first(self) -> GatewayProcess:
        return self.gateways[0]


@dataclass
class Asked:
    """Responses, and the number of each status."""

    statuses: Counter[int] = field(default_factory=Counter)
    responses: list[httpx.Response] = field(default_factory=list)

    @property
    def passed(self) -> int:
        return self.statuses[200]


def body(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": prompt}], **fields}


async def ask_many(
    gateways: Sequence[GatewayProcess],
    secret: str,
    prompt: str,
    *,
    clients: int,
    each: int = 1,
    headers: Mapping[str, str] | None = None,
) -> Asked:
    """Run concurrent clients, spread over the gateways, each with sequential requests."""
    asked = Asked()

    async def client(number: int, http: httpx.AsyncClient) -> None:
        gateway = gateways[number % len(gateways)]
        for _ in range(each):
            response = await http.post(
                f"{gateway.base_url}/v1/messages", json=body(prompt), headers={"x-api-key": secret, **(headers or {})}
            )
            asked.statuses[response.status_code] += 1
            asked.responses.append(response)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=120, limits=limits) as http:
        await asyncio.gather(*(client(number, http) for number in range(clients)))
    return asked


def usage(gateway: GatewayProcess, secret: str) -> dict[str, Any]:
    """Response of /v1/usage."""
    response = httpx.get(f"{gateway.base_url}/v1/usage", headers={"x-api-key": secret}, timeout=30)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer
